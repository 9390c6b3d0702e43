"""The benchmarks' own figures are compared honestly."""

import json
import math
from pathlib import Path

import pytest

from benchmarks import harness

TARGETS = """
[healing]
p95 = {max = 1.0}
share = {min = 0.99}
"""


def run(tmp_path: Path, figures: dict[str, float], *options: str) -> int:
    targets = tmp_path / "targets.toml"
    targets.write_text(TARGETS)
    given = harness.arguments("x").parse_args(["--targets", str(targets), *options])
    return harness.finish("healing", figures, given)


def test_figures_within_their_bounds_pass(tmp_path: Path) -> None:
    assert run(tmp_path, {"p95": 1.0, "share": 0.99}, "--check") == 0


def test_what_falls_short_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, {"p95": 1.25, "share": 1}, "--check") == 1
    assert "p95 is 1.25 (wanted ≤ 1)" in capsys.readouterr().err


def test_a_figure_that_was_not_measured_falls_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, {"p95": 0.5}, "--check") == 1
    assert "share was not measured" in capsys.readouterr().err


def test_not_a_number_never_holds(tmp_path: Path) -> None:
    assert run(tmp_path, {"p95": math.nan, "share": 1}, "--check") == 1


def test_without_check_nothing_fails_and_figures_are_written_flat(tmp_path: Path) -> None:
    assert run(tmp_path, {"p95": 9, "share": 0}, "--json", str(tmp_path / "out.json")) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == {"p95": 9, "share": 0}


@pytest.mark.parametrize("text", ["[other]\n", "[healing]\np95 = 3\n", "[healing\n", "[healing]\np95 = {about = 1}\n"])
def test_targets_that_cannot_be_used_exit_2_with_the_file_named(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    given = harness.arguments("x").parse_args(["--targets", str(path)])
    assert harness.finish("healing", {}, given) == 2
    assert "broken.toml" in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3, 1, 2], 0.5, 2),
        ([1, 2, 3, 4], 0.5, 2),
        (list(range(1, 21)), 0.95, 19),
        (list(range(1, 21)), 1.0, 20),
        ([7], 0.95, 7),
    ],
)
def test_percentile_is_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert harness.percentile(values, share) == expected


def test_percentile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(harness.percentile([], 0.5))


def test_every_shipped_target_is_readable() -> None:
    for name in ("healing", "durability", "overhead"):
        assert harness.read_targets(harness.TARGETS, name)
