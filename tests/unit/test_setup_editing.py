"""Changes of one value in a file: every other character of it stays."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from brainops.errors import BadInputError
from interfaces.setup.editing import save, set_autonomy, set_run

FILE = """\
# ours
services:
  web:   # the shop
    run: {command: [python3]}
    autonomy: observe   # for now
    # the end of web
  api:
    run: {command: [python3]}

  flow: {run: {kind: external}}
  block:
    autonomy:
      start: act   # why
      restart: act
    run: {command: [python3]}
# the end
"""


def test_value_is_replaced_where_it_stands() -> None:
    assert set_autonomy(FILE, "web", "act") == FILE.replace("observe   # for now", "act   # for now")


def test_missing_value_is_added_behind_the_last_key() -> None:
    changed = set_autonomy(FILE, "api", "act")
    assert changed == FILE.replace(
        "  api:\n    run: {command: [python3]}\n", "  api:\n    run: {command: [python3]}\n    autonomy: act\n"
    )


def test_service_in_one_line_stays_in_one_line() -> None:
    changed = set_autonomy(FILE, "flow", "suggest")
    assert "  flow: {autonomy: suggest, run: {kind: external}}\n" in changed


def test_block_of_levels_becomes_what_is_wanted_and_its_neighbours_stay() -> None:
    changed = set_autonomy(FILE, "block", "{restart: approve}")
    assert yaml.safe_load(changed)["services"]["block"] == {
        "autonomy": {"restart": "approve"},
        "run": {"command": ["python3"]},
    }
    assert changed.startswith(FILE[: FILE.index("  block:")])
    assert changed.endswith("# the end\n")


def test_run_is_replaced_by_a_block() -> None:
    lines = ["    run:", "      kind: process", "      command: [python3, -m, shop]"]
    changed = set_run(FILE, "web", lines)
    assert yaml.safe_load(changed)["services"]["web"]["run"] == {
        "kind": "process",
        "command": ["python3", "-m", "shop"],
    }
    assert "    autonomy: observe   # for now\n    # the end of web\n" in changed


def test_what_is_shared_through_an_alias_is_left_to_a_person() -> None:
    text = "services:\n  web: &web\n    run: {command: [python3]}\n  api: *web\n"
    with pytest.raises(BadInputError, match="by hand"):
        set_autonomy(text, "api", "act")


def test_own_value_goes_before_a_merged_one() -> None:
    text = "base: &base {autonomy: observe}\nservices:\n  web:\n    <<: *base\n    run: {command: [python3]}\n"
    assert yaml.safe_load(set_autonomy(text, "web", "act"))["services"]["web"]["autonomy"] == "act"


def test_unknown_service_is_refused() -> None:
    with pytest.raises(BadInputError, match="describes no service nobody"):
        set_autonomy(FILE, "nobody", "act")


@given(
    st.lists(st.sampled_from(["# note", "", "  # deeper", "    # deepest"]), max_size=4),
    st.sampled_from(["observe", "'observe'", "{restart: act}", "\n      restart: act", ""]),
    st.booleans(),
)
def test_only_the_wanted_value_ever_changes(comments: list[str], value: str, last: bool) -> None:
    own = [f"    autonomy: {value}"] if value else []
    body = ["    run: {command: [python3]}", *own] if last else [*own, "    run: {command: [python3]}"]
    text = "\n".join(["services:", "  web:", *body, *comments, "  api:", "    run: {command: [x]}", *comments, ""])
    before = yaml.safe_load(text)
    after = yaml.safe_load(set_autonomy(text, "web", "act"))
    assert after["services"]["web"] == {**before["services"]["web"], "autonomy": "act"}
    assert after["services"]["api"] == before["services"]["api"]


def test_earlier_file_is_kept_and_the_mode_stays(tmp_path: Path) -> None:
    file = tmp_path / "brainops.yaml"
    file.write_text("old")
    file.chmod(0o640)
    copy = save(file, "new", datetime.now(UTC))
    assert (file.read_text(), copy.read_text(), file.stat().st_mode & 0o777) == ("new", "old", 0o640)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([file.name, copy.name])
