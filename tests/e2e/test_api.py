"""The API process beside a real Temporal server: ready when both answer, and again after Temporal was away."""

from collections.abc import Iterator

import pytest
from house import TemporalForTests, running_temporal

from interfaces.api.resources import TemporalProbe


@pytest.fixture(scope="module")
def temporal() -> Iterator[TemporalForTests]:
    with running_temporal() as server:
        yield server


async def test_temporal_is_reachable_once_it_runs(temporal: TemporalForTests, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = TemporalProbe()
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    assert not await probe.reachable()
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal.address)
    assert await probe.reachable()
    assert await probe.reachable()
