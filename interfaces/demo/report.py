"""What the demo leaves behind: the report for programs, and the lines and the table for people."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from interfaces.demo.experiment import Outcome
from interfaces.demo.faults import Fault


@dataclass(frozen=True)
class Trial:
    """One line of the demo: a fault, for the first or second time."""

    fault: Fault
    service: str
    occurrence: int

    @property
    def title(self) -> str:
        """What a person reads."""
        again = "" if self.occurrence == 1 else " (again)"
        return f"{self.fault.description}{again}"


def write_report(path: Path, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes as JSON. Trials that were not reached count in `total`. Times in whole milliseconds."""
    faults = [
        {
            "kind": outcome.kind,
            "service": outcome.service,
            "occurrence": outcome.occurrence,
            "detected_ms": _milliseconds(outcome.detected),
            "healed_ms": _milliseconds(outcome.healed),
            "cause": outcome.cause,
            "remedy": outcome.remedy,
            "verified": outcome.verified,
            "model_calls": outcome.model_calls,
            "workflow_id": outcome.workflow_id,
        }
        for outcome in outcomes
    ]
    healed = sum(outcome.good for outcome in outcomes)
    document = {"faults": faults, "healed": healed, "total": len(trials)}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def second_times(outcomes: Sequence[Outcome]) -> list[str]:
    """A sentence for each kind that was met twice: how much faster the second time was."""
    first = {outcome.kind: outcome for outcome in outcomes if outcome.occurrence == 1}
    lines: list[str] = []
    for again in (outcome for outcome in outcomes if outcome.occurrence > 1):
        before = first.get(again.kind)
        if before is None or before.healed is None or again.healed is None:
            continue
        change = 1 - again.healed / before.healed
        pace = f"{change:.0%} faster" if change > 0 else "no faster"
        tried = f"{' → '.join(before.tried)}, then {' → '.join(again.tried)}"
        lines.append(
            f"{again.kind}: {seconds(before.healed)} the first time, {seconds(again.healed)} the second: {pace} ({tried})"
        )
    return lines


class Display(Protocol):
    """Shows the demo as it goes."""

    def begun(self, trial: Trial) -> None:
        """A fault is being injected."""
        ...

    def detected(self, trial: Trial, delay_seconds: float) -> None:
        """An incident was opened for it."""
        ...

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """It is over, well or not."""
        ...


class PlainDisplay:
    """One line for each thing that happens: for logs, pipes and `--plain`."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begun(self, trial: Trial) -> None:
        self._say(f"{trial.service}: {trial.title}")

    def detected(self, trial: Trial, delay_seconds: float) -> None:
        self._say(f"{trial.service}: detected after {seconds(delay_seconds)}")

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        if not outcome.good:
            self._say(f"{trial.service}: NOT HEALED: {outcome.problem}")
            return
        self._say(f"{trial.service}: cause: {outcome.cause}")
        self._say(f"{trial.service}: {_story(outcome)}: verified, healed after {seconds(outcome.healed)}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay:
    """A table that grows and fills while the faults are met. Use as a context manager's body: `with display.live:`."""

    def __init__(self, console: Console, trials: Sequence[Trial]) -> None:
        self._trials = trials
        self._states: dict[tuple[str, int], tuple[str, ...]] = {}
        self.live = Live(self._table(), console=console, refresh_per_second=8)

    def begun(self, trial: Trial) -> None:
        self._show(trial, ("[yellow]breaking[/]", "", "", "", ""))

    def detected(self, trial: Trial, delay_seconds: float) -> None:
        self._show(trial, (seconds(delay_seconds), "[yellow]looking[/]", "", "", ""))

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        verified = "[green]yes[/]" if outcome.verified else "[red]no[/]"
        healed = f"[green]{seconds(outcome.healed)}[/]" if outcome.good else "[red]not healed[/]"
        cause = escape(outcome.cause if outcome.good else outcome.problem)
        self._show(trial, (seconds(outcome.detected), cause, escape(_story(outcome)), verified, healed))

    def _show(self, trial: Trial, cells: tuple[str, ...]) -> None:
        self._states[trial.fault.kind, trial.occurrence] = cells
        self.live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table("fault", "detected after", "cause", "remedy", "verified", "healed after")
        for trial in self._trials:
            cells = self._states.get((trial.fault.kind, trial.occurrence), ("", "", "", "", ""))
            table.add_row(escape(trial.title), *cells)
        return table


def seconds(value: float | None) -> str:
    """A time for people; `never` when there is none."""
    if value is None:
        return "never"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _story(outcome: Outcome) -> str:
    """The remedies tried, and whose incidents were part of it."""
    tried = " → ".join(outcome.tried) or outcome.remedy
    if not outcome.absorbed:
        return tried
    return f"{tried} (one incident with {', '.join(outcome.absorbed)})"


def _milliseconds(value: float | None) -> int | None:
    return None if value is None else round(value * 1000)
