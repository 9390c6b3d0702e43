"""`agents/` stays pure: the workflow sandbox passes it through, so nothing else would notice."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

AGENTS = Path(__file__).resolve().parents[2] / "agents"
MODULES = sorted(AGENTS.rglob("*.py"))

ALLOWED_PACKAGES = ("agents", "brainops.contracts", "brainops.config.models", "brainops.config.quantities")
ALLOWED_STANDARD = {"collections", "collections.abc", "dataclasses", "datetime", "enum", "functools", "itertools"} | {
    "math",
    "re",
    "typing",
}
FORBIDDEN_CALLS = {
    "open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint", "id", "hash",
    "now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "sleep",
    "random", "uuid1", "uuid4", "getenv", "urandom", "read_text", "write_text", "read_bytes", "write_bytes",
}  # fmt: skip


def impurities(source: str) -> Iterator[str]:
    """What in `source` reaches outside: forbidden imports, and calls of a clock, randomness or I/O."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"imports {name.name}" for name in node.names if not _allowed(name.name))
        elif isinstance(node, ast.ImportFrom):
            if node.level or not _allowed(node.module or ""):
                yield f"imports {'.' * node.level}{node.module or ''}"
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in FORBIDDEN_CALLS:
                yield f"calls {name}"
        elif isinstance(node, ast.Global | ast.AsyncFunctionDef | ast.Await):
            yield f"has {type(node).__name__}"


def _allowed(module: str) -> bool:
    return module in ALLOWED_STANDARD or any(
        module == package or module.startswith(f"{package}.") for package in ALLOWED_PACKAGES
    )


def test_every_agent_module_is_looked_at() -> None:
    assert {"autonomy", "charter", "loop_breaker", "roster", "system_monitor"} <= {path.stem for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_agents_reach_nothing_outside(path: Path) -> None:
    assert list(impurities(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import random as r",
        "from socket import socket",
        "from brainops.errors import BrainOpsError",
        "from brainops.config.load import load_config",
        "from brainops.database import engine",
        "import temporalio",
        "datetime.now()",
        "open('x')",
        "uuid4()",
        "print('x')",
        "__import__('os')",
        "async def f(): ...",
    ],
)
def test_an_impure_line_is_found(source: str) -> None:
    assert list(impurities(source))
