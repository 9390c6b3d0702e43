"""`brainops history`: every recorded action, newest first: who did what, with what result."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table

from brainops.contracts.recording import WorkRecord
from brainops.memory.deeds import DeedStore
from interfaces.cli.context import complete, connect
from interfaces.cli.display import ago, duration, plain, print_json, say, table

SHARE_WINDOW = timedelta(days=7)


class History(BaseModel):
    """`brainops history --json`."""

    work: list[WorkRecord]
    manual_share_7d: float | None
    """Share of the last seven days' actions that a person caused, 0 to 1; null without any."""


def history(
    service: Annotated[str | None, typer.Option(help="Only actions for this service.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")] = 20,
    before: Annotated[
        datetime | None, typer.Option(help="Only actions that began before this time (UTC unless local time is given).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document for programs.")] = False,
) -> None:
    """List what was done, by whom, and with what result."""
    complete(_show(service, limit, before, json))


async def _show(service: str | None, limit: int, before: datetime | None, json: bool) -> None:
    now = datetime.now(UTC)
    if before is not None and before.tzinfo is None:
        before = before.replace(tzinfo=UTC)
    async with connect() as stack:
        deeds = DeedStore(stack.database)
        work = list(await deeds.work(limit, before=before, service=service))
        share = await deeds.manual_share(now - SHARE_WINDOW)
    if json:
        print_json(History(work=work, manual_share_7d=share))
    elif not work:
        say("Nothing has been done yet.")
    else:
        say(work_table(work, now))
        if share is not None:
            say(f"{share * 100:.1f} % of the last seven days' actions were caused by a person.")


def work_table(work: Sequence[WorkRecord], now: datetime) -> Table:
    """Actions for people."""
    rows = [
        (
            ago(record.started_at, now),
            str(record.actor),
            plain(record.action.replace("_", " "), "" if record.success else "red"),
            record.service,
            plain("ok", "green") if record.success else plain(record.error_message or "failed", "red"),
            duration(record.duration_ms / 1000),
        )
        for record in work
    ]
    return table("History", ("when", "actor", "action", "service", "result", "took"), rows, elastic="result")
