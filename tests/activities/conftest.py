"""Fixtures of the activities' tests."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest_asyncio
from one_host import SLEEPER, Host, one_host

from brainops.database.engine import Database


@pytest_asyncio.fixture
async def host(database: Database, tmp_path: Path) -> AsyncGenerator[Host]:
    made = one_host(database, tmp_path)
    yield made
    await made.adapter.stop("shop", SLEEPER)
