"""The contract test of BrainOps, run on what this package brings: install it first (uv pip install -e .)."""

from datetime import UTC, datetime
from pathlib import Path

from brainops.config.models import Service
from brainops.contracts.check import Reason
from brainops.contracts.incident import Evidence
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.plugin_contract import assert_check_contract, assert_remedy_contract, assert_tool_contract

SERVICE = Service.model_validate(
    {
        "run": {"kind": "external"},
        "checks": {"marker": {"kind": "plugin", "use": "marker_file", "options": {"path": "marker.txt"}}},
    }
)
FAULT = Evidence(
    service="shop",
    check="marker",
    reason=Reason.ERROR,
    detail="there is no marker file marker.txt",
    captured_at=datetime.now(UTC),
    state=ServiceState(service="shop", status=ServiceStatus.UNSEEN),
)


async def test_check(tmp_path: Path) -> None:
    missing = await assert_check_contract("marker_file", {"path": "marker.txt"}, tmp_path)
    assert missing.reason is Reason.ERROR
    (tmp_path / "marker.txt").write_text("here")
    assert (await assert_check_contract("marker_file", {"path": "marker.txt"}, tmp_path)).ok


async def test_remedy(tmp_path: Path) -> None:
    candidate = await assert_remedy_contract("write_marker", FAULT, SERVICE, tmp_path)
    assert candidate.explains
    assert (tmp_path / "marker.txt").exists()


async def test_tool(tmp_path: Path) -> None:
    (tmp_path / "marker.txt").write_text("written by plan 7")
    assert await assert_tool_contract("read_marker", {"path": "marker.txt"}, tmp_path) == "written by plan 7"
