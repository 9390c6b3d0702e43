"""The order in which each workflow gives commands, read from its source.

A change of that order makes running plans fail on replay, so it must be deliberate: guarded by
`workflow.patched()`, or known to touch no running plan. `python tools/fingerprints.py --write` accepts today's.
"""

import ast
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FINGERPRINTS = ROOT / "tests" / "replay" / "fingerprints.json"

_COMMANDS = {
    "continue_as_new",
    "execute_activity_method",
    "execute_child_workflow",
    "execute_local_activity_method",
    "patched",
    "signal",
    "sleep",
    "start_activity_method",
    "start_child_workflow",
    "upsert_search_attributes",
    "uuid4",
    "wait_condition",
}


def fingerprints() -> dict[str, list[str]]:
    """Workflow module → its commands in source order, as `function: call(first argument)`."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "workflows").glob("*.py")):
        commands = _commands(ast.parse(path.read_text()))
        if commands:
            found[path.stem] = commands
    return found


def _commands(tree: ast.Module) -> list[str]:
    commands: list[str] = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
            name = ast.unparse(call.func).split("[")[0]
            if name.rpartition(".")[2] in _COMMANDS or name.startswith("self._"):
                first = ast.unparse(call.args[0]) if call.args else ""
                commands.append(f"{function.name}: {name}({first[:80]})")
    return commands


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tools/fingerprints.py --write")
    FINGERPRINTS.write_text(json.dumps(fingerprints(), indent=1) + "\n")
