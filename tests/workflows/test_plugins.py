"""A package from elsewhere heals a service of a running house: its check sees the fault, its remedy mends it."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import Builder, eventually
from packages import install_template

from brainops.contracts.incident import IncidentStatus
from brainops.effects.ledger import EffectLedger
from brainops.remedies.registry import remedies


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The template package, installed for this test."""
    folder = tmp_path / "site"
    folder.mkdir()
    install_template(folder)
    monkeypatch.syspath_prepend(str(folder))  # pyright: ignore[reportUnknownMemberType]  # untyped in pytest
    importlib.invalidate_caches()
    remedies.cache_clear()
    yield
    remedies.cache_clear()
    for name in [name for name in sys.modules if name.startswith("brainops_marker")]:
        del sys.modules[name]


@pytest.mark.usefixtures("template")
async def test_the_plan_heals_by_the_remedy_of_a_package(builder: Builder, tmp_path: Path) -> None:
    marker = tmp_path / "marker.txt"
    marker.write_text("here")
    check = {"kind": "plugin", "use": "marker_file", "options": {"path": "marker.txt"}, "interval": "100ms"}
    shop = {"checks": {"marker": check}, "autonomy": {"start": "act", "plugin": "act"}}
    async with builder.house({"shop": shop}) as house:
        await house.answers("shop")
        marker.unlink()
        detail = await house.incident("shop", IncidentStatus.RESOLVED)

        async def written() -> bool:
            return marker.exists()

        await eventually(written, "the marker file is back")
        assert detail.row.remedy == "write_marker"
        effects = await EffectLedger(house.database).list(detail.row.plan_id)
        assert [entry.result.summary for entry in effects if entry.result] == ["wrote marker.txt"]
        assert house.starts("shop") == 1
