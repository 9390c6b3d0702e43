"""The tables of docs/configuration.md, from the models: `python tools/config_reference.py --write`.

In the page, a line `<!-- keys: MODEL -->` stands before the table of that model, and `<!-- words: NAME -->` before a line
of words that may be chosen. What follows such a line is written anew; everything else is prose and stays.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from brainops.config.schema import json_schema
from brainops.contracts.agent import ActionClass, AgentName, Autonomy
from brainops.contracts.check import Reason
from brainops.contracts.names import REMEDY_NAMES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

Node = dict[str, Any]
"""Part of a JSON schema. Any: JSON of every shape."""

WORDS: Mapping[str, Iterable[str]] = {
    "reasons": [reason.value for reason in Reason if reason is not Reason.NONE],
    "remedies": REMEDY_NAMES,
    "actions": [action.value for action in ActionClass],
    "agents": [agent.value for agent in AgentName],
    "autonomy": [level.value for level in Autonomy],
}

_MARK = re.compile(r"<!-- (keys|words): (\w+) -->\n(?:(?:\|[^\n]*|`[^\n]*)\n)*")


def models() -> dict[str, Node]:
    """Every model of the file that has keys, by name."""
    schema = json_schema()
    named = {name: node for name, node in schema["$defs"].items() if "properties" in node}
    return {"BrainOpsConfig": schema, **named}


def rows(node: Node) -> str:
    """The table of a model."""
    lines = [f"| `{key}` | {default(node, key)} | {described(field)} |" for key, field in node["properties"].items()]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *lines])


def described(field: Node) -> str:
    """What is said of a key, on one line."""
    return " ".join(field.get("description", "").split()).replace("|", "\\|")


def default(node: Node, key: str) -> str:
    """What holds when nothing is said."""
    if key in node.get("required", ()):
        return "required"
    value: Any = node["properties"][key].get("default")  # JSON of every shape
    if value in (None, [], {}):
        return "none"
    if isinstance(value, dict):
        return "see below"
    if isinstance(value, list):
        return f"`{json.dumps(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def written(page: str) -> str:
    """The page with its tables as the models have them. Raises KeyError for a mark of an unknown model."""
    known = models()

    def block(found: re.Match[str]) -> str:
        kind, name = found[1], found[2]
        body = rows(known[name]) if kind == "keys" else ", ".join(f"`{word}`" for word in WORDS[name]) + "."
        return f"<!-- {kind}: {name} -->\n{body}\n"

    return _MARK.sub(block, page)


def unmentioned(page: str) -> list[str]:
    """Models and lists of words that the page has no mark for."""
    marks = {found[2] for found in _MARK.finditer(page)}
    return sorted({*models(), *WORDS} - marks)


def main(arguments: list[str]) -> int:
    """Print what is missing; `--write`: bring the page up to date. Returns the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    now = written(page)
    if "--write" in arguments:
        PAGE.write_text(now, encoding="utf-8")
    elif now != page:
        sys.stderr.write("docs/configuration.md is not as the models are; run tools/config_reference.py --write\n")
        return 1
    for name in unmentioned(page):
        sys.stderr.write(f"docs/configuration.md has no mark for {name}\n")
    return 1 if unmentioned(page) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
