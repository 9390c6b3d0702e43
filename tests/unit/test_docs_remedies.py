"""The page of the remedies: a line and an example for each, and every example loads."""

import re
from pathlib import Path

import pytest

from brainops.config.load import check_config
from brainops.contracts.names import REMEDY_NAMES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "remedies.md").read_text()
EXAMPLES = re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
BLOCKS = [(name, block) for name, text in EXAMPLES for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
FILES = sorted(path for kind in ("systemd", "processes") for path in (DOCS / "examples" / kind).glob("*.yaml"))


def test_every_remedy_has_a_line_and_an_example() -> None:
    assert set(re.findall(r"^\| \[`(\w+)`\]", PAGE, re.MULTILINE)) == set(REMEDY_NAMES)
    assert {name for name, _ in BLOCKS} == set(REMEDY_NAMES)


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_every_example_of_the_page_loads(name: str, block: str) -> None:
    assert [str(mistake) for mistake in check_config(block, Path(f"{name}.yaml"))] == []


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_every_example_file_loads(path: Path) -> None:
    assert [str(mistake) for mistake in check_config(path.read_text(), path)] == []


def test_there_are_example_files_of_both_kinds() -> None:
    assert {path.parent.name for path in FILES} == {"systemd", "processes"}
