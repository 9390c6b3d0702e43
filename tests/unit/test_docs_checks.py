"""The page of all checks: each kind has a section with every value it knows and an example that can be used."""

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from brainops.config.checks import Check
from brainops.config.conditions import CONDITION_VALUES
from brainops.config.load import check_config
from brainops.contracts.check import CheckKind, Reason

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "checks.md").read_text()
SECTIONS = dict(zip(*[iter(re.split(r"^## (\w+)\n", PAGE, flags=re.MULTILINE)[1:])] * 2, strict=True))
EXAMPLES = [
    (page, number, example)
    for page in ("checks.md", "conditions.md")
    for number, example in enumerate(re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL))
]


def test_each_kind_of_check_has_a_section() -> None:
    assert set(SECTIONS) == {kind.value for kind in CheckKind}
    mapping = TypeAdapter[object](Check).json_schema()["discriminator"]["mapping"]
    assert set(SECTIONS) == set(mapping)


@pytest.mark.parametrize(("page", "number", "example"), EXAMPLES, ids=lambda value: str(value)[:20])
def test_every_example_can_be_used(page: str, number: int, example: str) -> None:
    assert check_config(example, DOCS / f"{page}-{number}.yaml") == []


@pytest.mark.parametrize("kind", [kind.value for kind in CheckKind])
def test_a_section_shows_its_kind_its_values_and_reasons_that_exist(kind: str) -> None:
    section = SECTIONS[kind]
    assert f"kind: {kind}" in section
    named = set(re.findall(r"`\[([A-Z_]+)\]", section.partition("```yaml")[0]))
    assert named == set(CONDITION_VALUES.get(kind, {}))
    reasons = section.partition("**Reasons**: ")[2].partition("\n\n")[0]
    known = {reason.value for reason in Reason}
    assert set(re.findall(r"`([a-z_]+)`", reasons)) <= known
    assert reasons or kind == "plugin"
