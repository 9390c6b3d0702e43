"""`brainops maintenance`: let services be for a while, without acting on them and without paging anybody."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import uuid4

import typer
from pydantic import BaseModel

from brainops.config.load import reload_config
from brainops.config.maintenance import MaintenanceWindow
from brainops.config.notify import names
from brainops.config.quantities import format_duration, parse_duration
from brainops.contracts.maintenance import CloseMaintenance, OpenMaintenance, Window
from brainops.crew.maintenance import MaintenanceStore
from brainops.errors import BadInputError, NotFoundError
from brainops.services.store import ServiceStore
from interfaces.cli.context import Connections, complete, connect
from interfaces.cli.display import ago, clock, print_json, say, table
from interfaces.cli.names import unknown
from interfaces.cli.pause import tell_incidents
from workers.runtime import person

app = typer.Typer(
    no_args_is_help=True,
    help="Let services be for a while.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

LONGEST = timedelta(days=30)

Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]


class CalendarWindow(BaseModel):
    """A window of the file's calendar."""

    name: str
    services: list[str]
    schedule: str
    timezone: str
    lasts_seconds: float
    open_until: datetime | None
    opens_next: datetime | None


class MaintenanceList(BaseModel):
    """`brainops maintenance list --json`."""

    open: list[Window]
    calendar: list[CalendarWindow]


@app.command("open")
def open_window(
    services: Annotated[
        list[str] | None, typer.Argument(metavar="SERVICE…", help="Names or patterns such as 'shop-*'.")
    ] = None,
    lasts: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long, such as 2h; at most 30d.")] = "1h",
    reason: Annotated[str, typer.Option("--reason", "-r", help="Shown wherever the window is.")] = "",
    all_services: Annotated[bool, typer.Option("--all", help="All services.")] = False,
    json: Json = False,
) -> None:
    """Watch services, but do nothing about them and page nobody until the window ends."""
    if bool(services) == all_services:
        raise BadInputError("name the services of the window, or give --all for all of them")
    if len(reason) > 500:
        raise BadInputError(f"the reason has {len(reason)} characters; give at most 500")
    try:
        duration = parse_duration(lasts)
    except ValueError as error:
        raise BadInputError(f"--for: {error}") from error
    if not timedelta(seconds=1) <= duration <= LONGEST:
        raise BadInputError(f"--for: {lasts} is out of bounds; give 1s to {format_duration(LONGEST)}")
    complete(_open(tuple(services or ()), duration, reason, json))


@app.command("close")
def close_window(
    window: Annotated[
        str | None, typer.Argument(metavar="[ID|SERVICE]", help="A window's id or its beginning, or a service.")
    ] = None,
    all_windows: Annotated[bool, typer.Option("--all", help="Every window that is open by command or plan.")] = False,
) -> None:
    """End windows before their time; open incidents of their services are looked at anew."""
    if (window is None) != all_windows:
        raise BadInputError("name a window or a service, or give --all; `brainops maintenance list` lists the windows")
    complete(_close(window))


@app.command("list")
def list_windows(json: Json = False) -> None:
    """List what is open now, and what the calendar of the file says."""
    complete(_list(json))


async def _open(services: tuple[str, ...], lasts: timedelta, reason: str, json: bool) -> None:
    async with connect() as stack:
        known = [row.name for row in await ServiceStore(stack.database).list()]
        for glob in services:
            if not any(names((glob,), name) for name in known):
                raise unknown("service", glob, set(known))
        request = OpenMaintenance(
            id=uuid4(), services=services, seconds=lasts.total_seconds(), reason=reason, actor=person()
        )
        opened = await MaintenanceStore(stack.database).open(request)
    if json:
        print_json(opened)
        return
    whom = ", ".join(services) or "all services"
    say(
        f"Maintenance of {whom} until {clock(opened.ends_at)}: watched, and nothing is done about it.",
        f"End it earlier with `brainops maintenance close {str(opened.id)[:8]}`.",
    )


async def _close(text: str | None) -> None:
    async with connect() as stack:
        store = MaintenanceStore(stack.database)
        found = _chosen(await store.open_windows(datetime.now(UTC)), text)
        known = [row.name for row in await ServiceStore(stack.database).list()]
        for window in found:
            await store.close(CloseMaintenance(id=window.id, actor=person()))
        affected = {name for name in known if any(names(window.services, name) for window in found)}
        told = await tell_incidents(stack, "the maintenance", affected)
    tail = f"; {told} open incident{'s' if told != 1 else ''} looked at anew" if told else ""
    say(f"{len(found)} maintenance window{'s' if len(found) != 1 else ''} closed{tail}.")


def _chosen(windows: list[Window], text: str | None) -> list[Window]:
    """The open windows that `text` names by id, its beginning, or a service. Raises NotFoundError."""
    if text is None:
        chosen = windows
    else:
        wanted = text.lower()
        by_id = [window for window in windows if len(wanted) >= 4 and str(window.id).startswith(wanted)]
        chosen = by_id or [window for window in windows if window.services and text in window.services]
    if not chosen:
        which = "" if text is None else f" {text!r}"
        raise NotFoundError(f"no maintenance window{which} is open by command; `brainops maintenance list` lists them")
    return chosen


async def _list(json: bool) -> None:
    async with connect() as stack:
        opened = await MaintenanceStore(stack.database).open_windows(datetime.now(UTC))
        calendar = [_by_calendar(window, datetime.now(UTC)) for window in _declared(stack)]
    if json:
        print_json(MaintenanceList(open=opened, calendar=calendar))
        return
    if not opened and not calendar:
        say("No maintenance: `brainops maintenance open SERVICE --for 2h` opens a window.")
    if opened:
        rows = [
            (str(one.id)[:8], ", ".join(one.services) or "all", ago(one.ends_at), one.opened_by, one.reason)
            for one in opened
        ]
        say(table("Open now", ("id", "services", "ends", "by", "reason"), rows, elastic="reason"))
    if calendar:
        rows = [
            (
                one.name,
                ", ".join(one.services) or "all",
                f"{one.schedule} {one.timezone}",
                f"open, ends {ago(one.open_until)}" if one.open_until else _next(one.opens_next),
            )
            for one in calendar
        ]
        say(table("By calendar", ("name", "services", "schedule", "now"), rows, elastic="services"))


def _next(at: datetime | None) -> str:
    return f"opens {ago(at)}" if at is not None else "never opens"


def _declared(stack: Connections) -> tuple[MaintenanceWindow, ...]:
    if stack.info is None or stack.info.config_path is None:
        return ()
    return reload_config(stack.info.config_path).config.maintenance


def _by_calendar(window: MaintenanceWindow, now: datetime) -> CalendarWindow:
    return CalendarWindow(
        name=window.name,
        services=list(window.services),
        schedule=window.schedule,
        timezone=window.timezone,
        lasts_seconds=window.lasts.total_seconds(),
        open_until=window.open_until(now),
        opens_next=window.opens_next(now),
    )
