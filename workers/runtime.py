"""Connecting to Temporal by the SDK's own environment configuration."""

import asyncio
import ctypes
import getpass
import logging
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from temporalio.client import Client, Plugin
from temporalio.envconfig import ClientConfig
from temporalio.service import KeepAliveConfig, RetryConfig, RPCError

from brainops.contracts.base import Actor, ActorKind
from brainops.database.engine import Database
from brainops.errors import UnavailableError
from workers.plugin import brainops_plugin
from workers.reach import DEFAULT_ADDRESS, listens

TRIM_SECONDS = 30.0


def person() -> Actor:
    """The person at the keyboard: `$BRAINOPS_ACTOR` (`person:mira`), else the login name."""
    named = os.environ.get("BRAINOPS_ACTOR")
    if named:
        return Actor.parse(named)
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        login = str(os.getuid())
    return Actor(kind=ActorKind.PERSON, name=login)


async def connect_temporal(
    actor: Actor | None = None, plugins: Sequence[Plugin] | None = None, timeout: timedelta = timedelta(seconds=5)
) -> Client:
    """Connect as `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, TLS variables or a profile say.

    `actor`: who this process acts for; default: the person at the keyboard. Raises UnavailableError with the
    address when no server answers within `timeout`.
    """
    config = ClientConfig.load_client_connect_config()
    address = config.setdefault("target_host", DEFAULT_ADDRESS)
    nobody = f"no Temporal server answers at {address}; start one with `brainops up` or correct TEMPORAL_ADDRESS"
    if not await listens(address, timeout.total_seconds()):
        raise UnavailableError(nobody)
    chosen = list(plugins) if plugins is not None else [brainops_plugin(actor or person())]
    try:
        return await asyncio.wait_for(
            Client.connect(
                **config,
                plugins=chosen,
                retry_config=RetryConfig(
                    initial_interval_millis=100, max_interval_millis=1000, max_elapsed_time_millis=5000
                ),
                keep_alive_config=KeepAliveConfig(interval_millis=5000, timeout_millis=3000),
            ),
            timeout.total_seconds(),
        )
    except (RuntimeError, RPCError, TimeoutError) as error:
        raise UnavailableError(nobody) from error


async def return_memory(database: Database) -> None:
    """Now and then, until it is cancelled, give up the memory that only a start or a burst needed.

    That is spare connections (a control worker at rest does not use the database for minutes), and what the C library
    holds unused: glibc keeps what is freed below the last block in use, some 5 MB of an idle worker, and needs less
    than a millisecond to return it. Other C libraries have no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while True:
        await asyncio.sleep(TRIM_SECONDS)
        await database.close_spare()
        if trim is not None:
            trim(0)


def end_process(code: int) -> NoReturn:
    """End at once, after everything was closed, without the interpreter's own finalization.

    Threads of the SDK may still be about to take the interpreter's lock; in finalization that aborts the process
    (temporalio 1.35: `PyGILState_Release`), and a clean end would look like a crash.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
