"""What a person sees of the stack: one live table on a terminal, plain lines anywhere else."""

from collections import deque
from contextlib import suppress
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from workers.stack.stack import Stack
from workers.stack.supervisor import PartState

LINES_SHOWN = 8
REFRESHES_PER_SECOND = 4

_STYLES = {
    PartState.RUNNING: "green",
    PartState.STARTING: "yellow",
    PartState.RESTARTING: "yellow",
    PartState.FAILED: "red",
}


class PatientConsole(Console):
    """A console whose reader may go away (`brainops up | head`): the stack goes on without it."""

    def on_broken_pipe(self) -> None:
        """Say nothing more, instead of ending the process."""
        self.quiet = True


class Screen:
    """Shows a stack while it is entered. `console`: where; its being a terminal decides how."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self._stack = stack
        self._console = console
        self._lines: deque[str] = deque(maxlen=LINES_SHOWN)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._render, console=self._console, refresh_per_second=REFRESHES_PER_SECOND
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """Show a line: what is being done, or what has happened."""
        if self._live:
            self._lines.append(line)
            return
        with suppress(OSError):  # the terminal is gone: no reason to leave a part unattended
            self._console.print(escape(line), soft_wrap=True, highlight=False)

    def announce_ready(self) -> None:
        """Say once, in plain lines, where everything is; a terminal's table shows it all the time."""
        if self._live is None:
            for name, where in self._places():
                self.say(f"{name}: {where}")

    def _places(self) -> list[tuple[str, str]]:
        info = self._stack.addresses
        configured = (
            str(info.config_path)
            if info.config_path
            else "none: no services are watched; write one with `brainops init`"
        )
        temporal = [
            ("Temporal UI", info.ui_url or "that of your Temporal server"),
            ("Temporal", info.temporal_address),
        ]
        return [
            *([("Memory alone", "nothing is watched or healed")] if info.memory_only else temporal),
            ("API", f"{info.api_url} and {info.api_socket}"),
            *([] if info.memory_only else [("Configuration", configured)]),
            ("State folder", str(info.state_folder)),
            ("Logs", str(self._stack.paths.logs)),
            ("Stop", "Ctrl-C, or `brainops down`; your services go on running"),
        ]

    def _render(self) -> RenderableType:
        parts = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("part", "state", "pid", "restarts"):
            parts.add_column(heading, header_style="bold")
        for part in self._stack.parts:
            state = Text(part.state.value, style=_STYLES.get(part.state, ""))
            parts.add_row(part.spec.name, state, str(part.pid or ""), str(part.restarts or ""))
        shown: list[RenderableType] = [parts, ""]
        if self._stack.info:
            places = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
            for name, where in self._places():
                places.add_row(Text(name, style="bold"), Text(where))
            shown += [places, ""]
        return Group(*shown, *(Text(line) for line in self._lines))
