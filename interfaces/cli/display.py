"""What people read: times, durations, states, tables that fit a narrow terminal.

Text that came from a service, a log or a database is printed as text: control characters are shown escaped and
square brackets are no markup.
"""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from brainops.telemetry.redaction import printable

_STYLES = {
    "green": (
        "passing",
        "running",
        "resolved",
        "recovered",
        "approved",
        "helped",
        "ok",
        "yes",
        "ready",
        "act",
        "working",
    ),
    "red": ("failing", "open", "escalated", "rejected", "failed", "no", "unreachable", "revoked"),
    "yellow": ("waiting_approval", "pending", "paused", "expired", "observing", "approve", "withdrawn", "disabled"),
    "dim": ("unknown", "absorbed", "dismissed", "idle", "observe", "no job yet"),
}
_STYLE_OF = {word: style for style, words in _STYLES.items() for word in words}


KEPT_WHOLE = 9
"""Cells of up to so many characters are never folded, except in a table's elastic column."""


def console() -> Console:
    """The console for what a command answers. Colours only on a terminal, and never with NO_COLOR."""
    return Console(highlight=False, soft_wrap=False)


def plain(text: str, style: str = "") -> Text:
    """`text` for a cell: escaped, and read as no markup."""
    return Text(printable(text), style=style)


def state(word: str) -> Text:
    """A state in its colour, underscores as spaces."""
    return plain(word.replace("_", " "), _STYLE_OF.get(word, ""))


def duration(value: timedelta | float) -> str:
    """A duration in its two largest units, for people: `340 ms`, `4.2 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, unit, smaller_size, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            count, rest = divmod(whole, size)
            rest //= smaller_size
            return f"{count} {unit} {rest} {smaller}" if rest else f"{count} {unit}"
    return f"{whole} s"


def ago(at: datetime, now: datetime | None = None) -> str:
    """How long `at` is ago in its largest unit: `just now`, `12 s ago`, `3 min ago`; `in 1 h 59 min` for the future."""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    size = abs(seconds)
    if size < 2:
        return "just now"
    if seconds < 0:
        told = next((smaller for unit, smaller in ((86400, 3600), (3600, 60)) if size >= unit), 1)
        return f"in {duration(round(size / told) * told)}"
    for unit_seconds, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if size >= unit_seconds:
            return f"{int(size // unit_seconds)} {unit} ago"
    return "just now"


def clock(at: datetime, now: datetime | None = None) -> str:
    """Local time; with the date when it is another day."""
    local = at.astimezone()
    today = (now or datetime.now(UTC)).astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M:%S")


def when(at: datetime, now: datetime | None = None) -> str:
    """`3 min ago (14:05:11)`."""
    return f"{ago(at, now)} ({clock(at, now)})"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, elastic: str = "") -> Table:
    """A table whose `elastic` column takes what the terminal leaves; the others keep their words whole."""
    cells = [[plain(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        if column == elastic:
            made.add_column(column, overflow="fold", ratio=1, min_width=16)
        else:
            widest = max((row[number].cell_len for row in cells), default=0)
            made.add_column(column, overflow="fold", min_width=min(widest, KEPT_WHOLE))
    for row in cells:
        made.add_row(*row)
    return made


def facts(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Names and values without lines; empty values are left out."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if len(value):
            made.add_row(name, plain(value) if isinstance(value, str) else value)
    return made


def print_json(answer: BaseModel) -> None:
    """The answer for programs: one JSON document, keys as documented in docs/cli.md."""
    sys.stdout.write(answer.model_dump_json(indent=2) + "\n")


def say(*parts: Any) -> None:
    """Print texts and tables for people. Any: whatever rich can draw. A plain string is no markup."""
    screen = console()
    for part in parts:
        screen.print(plain(part) if isinstance(part, str) else part)
