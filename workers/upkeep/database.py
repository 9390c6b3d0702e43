"""The owner's connection to BrainOps' database, whether the stack runs or not."""

import os
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg

from brainops.config.paths import StatePaths
from brainops.database.embedded import EmbeddedPostgres, running_postgres
from brainops.database.urls import connection_string
from brainops.errors import BadInputError, UnavailableError
from workers.stack.parts import DATABASE_VARIABLE
from workers.stack.state import StackInfo, StackLock
from workers.upkeep.rows import Connection


@dataclass(frozen=True)
class OwnedDatabase:
    """A database that answers, by the URL of its owner."""

    kind: Literal["embedded", "given"]
    owner_url: str


@asynccontextmanager
async def owned_database(
    paths: StatePaths, environment: Mapping[str, str] = os.environ
) -> AsyncGenerator[OwnedDatabase]:
    """BrainOps' database: the one that BRAINOPS_DATABASE_URL names, else the embedded one, started if it does not run.

    While it had to be started, the state folder is held: no stack starts on it meanwhile. Raises BadInputError when
    there is nothing in the state folder, or its stack uses a database that the environment does not name.
    """
    if given := environment.get(DATABASE_VARIABLE):
        yield OwnedDatabase("given", given)
        return
    if not (paths.postgres / "data").is_dir():
        raise BadInputError(
            f"{paths.root} holds no database of BrainOps; name another state folder with --state-dir, "
            f"or the database with {DATABASE_VARIABLE}"
        )
    if (info := StackInfo.read(paths)) is not None:
        postgres = EmbeddedPostgres(paths)
        postgres.prepare()
        if not info.database_url.endswith(postgres.app_url.rpartition("?")[2]):
            raise BadInputError(
                f"the stack on {paths.root} uses a database of its own: set {DATABASE_VARIABLE} to the same URL as there"
            )
        yield OwnedDatabase("embedded", postgres.owner_url)
        return
    with held(paths):
        async with running_postgres(paths) as started:
            yield OwnedDatabase("embedded", started.owner_url)


@contextmanager
def held(paths: StatePaths) -> Generator[None]:
    """Hold the state folder, as a stack does. Raises ConflictError when one runs on it."""
    lock = StackLock(paths)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def connected(owner_url: str) -> Generator[Connection]:
    """A connection without a transaction. Raises UnavailableError when the server does not answer."""
    try:
        connection = psycopg.connect(connection_string(owner_url), autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise UnavailableError(f"Postgres does not answer: {reason}") from error
    with connection:
        yield connection


def database_folder(paths: StatePaths) -> Path:
    """The embedded cluster."""
    return paths.postgres / "data"
