"""The contract test that packages from elsewhere run on what they bring.

    async def test_check_keeps_the_contract(tmp_path: Path) -> None:
        await assert_check_contract("marker_file", {"path": "marker"}, tmp_path)

What passes here is loaded, bounded and refused by BrainOps itself in the same way. Failures are AssertionErrors that
say what to change.
"""

from brainops.plugin_contract.checks import assert_check_contract
from brainops.plugin_contract.remedies import assert_remedy_contract
from brainops.plugin_contract.tools import assert_tool_contract

__all__ = ["assert_check_contract", "assert_remedy_contract", "assert_tool_contract"]
