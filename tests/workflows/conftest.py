"""Fixtures of the tests that run whole plans."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from house import Builder, TemporalForTests, running_temporal

from brainops.database.engine import Database


@pytest.fixture(scope="session")
def temporal() -> Iterator[TemporalForTests]:
    with running_temporal() as server:
        yield server


@pytest.fixture
async def builder(temporal: TemporalForTests, database: Database, tmp_path: Path) -> AsyncIterator[Builder]:
    made = Builder(temporal, database, tmp_path)
    yield made
    await made.end_services()
