"""What every benchmark shares: its arguments, its table, its figures as JSON, and the comparison with the targets.

A benchmark is a small program: it calls `arguments`, measures, and returns `finish(...)` as its exit code.
"""

import argparse
import json
import math
import os
import platform
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

TABLE_WIDTH = 120
TARGETS = Path(__file__).parent / "targets.toml"

Figures = Mapping[str, float]
"""Figure → number: seconds, shares 0..1, bytes, or a plain count."""


_SECTION = TypeAdapter(dict[str, dict[Literal["max", "min"], float]])


class TargetsError(Exception):
    """The targets file cannot be used; the message says where and why."""


@dataclass(frozen=True)
class Target:
    """One bound that a figure must hold."""

    figure: str
    bound: Literal["max", "min"]
    value: float

    def holds(self, measured: float) -> bool:
        """Whether `measured` is within the bound; not-a-number never is."""
        return measured <= self.value if self.bound == "max" else measured >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.bound == 'max' else '≥'} {_number(self.value)}"


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes: `--json`, `--seed`, `--check`, `--targets`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, flat: figure → number")
    parser.add_argument("--seed", type=int, default=0, help="of everything random in the run")
    parser.add_argument("--check", action="store_true", help="exit 1, naming what falls short of the targets")
    parser.add_argument("--targets", type=Path, default=TARGETS, metavar="FILE", help="bounds for --check")
    return parser


def read_targets(path: Path, name: str) -> list[Target]:
    """The bounds of benchmark `name`. Raises TargetsError when the file or a bound cannot be used."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise TargetsError(f"{path}: {error}") from error
    if name not in document:
        raise TargetsError(f"{path}: has no section [{name}]")
    try:
        section = _SECTION.validate_python(document[name])
    except ValidationError as error:
        places = ", ".join(".".join(str(part) for part in mistake["loc"]) for mistake in error.errors())
        message = f"{path}: [{name}] {places} is no bound; write figure = {{max = number}} or {{min = number}}"
        raise TargetsError(message) from error
    return [Target(figure, bound, value) for figure, bounds in section.items() for bound, value in bounds.items()]


def shortfalls(figures: Figures, targets: Sequence[Target]) -> list[str]:
    """What does not hold, a sentence each. A figure that was not measured does not hold."""
    short: list[str] = []
    for target in targets:
        if target.figure not in figures:
            short.append(f"{target.figure} was not measured (wanted {target})")
        elif not target.holds(figures[target.figure]):
            short.append(f"{target.figure} is {_number(figures[target.figure])} (wanted {target})")
    return short


def finish(name: str, figures: Figures, given: argparse.Namespace) -> int:
    """Print the table of `figures`, write the JSON, compare when asked. Returns the exit code."""
    console = wide_console()
    try:
        targets = read_targets(given.targets, name)
    except TargetsError as error:
        Console(stderr=True).print(str(error), markup=False)
        return 2
    console.print(_table(name, figures, targets))
    console.print(environment(), style="dim")
    if given.json:
        given.json.write_text(json.dumps(dict(figures), indent=2) + "\n", encoding="utf-8")
    if not given.check:
        return 0
    short = shortfalls(figures, targets)
    for line in short:
        Console(stderr=True).print(f"falls short: {line}", style="red", markup=False, soft_wrap=True)
    return 1 if short else 0


def _table(name: str, figures: Figures, targets: Sequence[Target]) -> Table:
    wanted = {target.figure: target for target in targets}
    table = Table("figure", "measured", "wanted", title=name)
    for figure, measured in figures.items():
        target = wanted.get(figure)
        style = "" if target is None or target.holds(measured) else "red"
        table.add_row(figure, _number(measured), str(target or ""), style=style)
    return table


def environment() -> str:
    """One line on where the figures come from: cores, processor, versions, date."""
    versions = f"Python {platform.python_version()}, temporalio {version('temporalio')}"
    moment = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}, {versions}, {moment}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed (nearest rank); nan when there are none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def wide_console() -> Console:
    """Standard output, at least as wide as the tables."""
    console = Console()
    return console if console.width >= TABLE_WIDTH else Console(width=TABLE_WIDTH)


def say(text: str) -> None:
    """One line of progress, on standard error: standard output is for the table."""
    sys.stderr.write(f"{datetime.now(UTC).strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
