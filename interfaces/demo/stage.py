"""A stack of its own in a temporary folder, for as long as the demo or a benchmark needs one."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from brainops.config.paths import StatePaths
from brainops.database.engine import Database
from interfaces.demo.layout import Shop
from workers.stack.stack import EMBEDDED, Stack


@dataclass(frozen=True)
class Stage:
    """A running stack, and the two ways to ask it."""

    stack: Stack
    database: Database
    client: Client


@contextlib.contextmanager
def temporary_folder(name: str) -> Generator[Path]:
    """A folder that is removed with all it holds."""
    folder = Path(tempfile.mkdtemp(prefix=f"brainops-{name}-"))
    if os.geteuid() == 0:
        # Postgres then runs as a user of its own, which must be able to pass through.
        folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def running_stack(
    folder: Path,
    services: Mapping[str, Mapping[str, Any]],
    progress: Callable[[str], None] = lambda _line: None,
    environment: Mapping[str, str] | None = None,
    sections: Mapping[str, Any] | None = None,
) -> AsyncGenerator[Stage]:
    """A stack with `services`, on free ports, its state in `folder`; stopped at the end.

    It has a Temporal server and a Postgres of its own, whatever the shell's variables name. `environment`: added to
    that of its processes. `sections`: what else stands in the file. Any: values of `brainops.yaml`. Raises SetupError when a part cannot be had.
    """
    config = folder / "brainops.yaml"
    config.write_text(
        yaml.safe_dump({"services": dict(services), **(sections or {})}, sort_keys=False), encoding="utf-8"
    )
    settings = {**EMBEDDED, **(environment or {})}
    stack = Stack(StatePaths(folder / "state"), config, ports="auto", environment=settings)
    try:
        await stack.start(progress)
        database = Database(stack.database_url)
        try:
            client = await Client.connect(stack.temporal_address, data_converter=pydantic_data_converter)
            yield Stage(stack, database, client)
        finally:
            await database.close()
    finally:
        await stack.stop()


@contextlib.asynccontextmanager
async def removing(shops: Iterable[Shop]) -> AsyncGenerator[None]:
    """At the end, end whatever still runs of `shops`, their strays too. Enter it before the stack's."""
    try:
        yield
    finally:
        await asyncio.gather(*(shop.remove_processes() for shop in shops))
