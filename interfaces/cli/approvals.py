"""`brainops approvals`: questions that a plan asks a person."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table

from brainops.contracts.approval import Approval, ApprovalStatus
from brainops.incidents.store import IncidentStore
from interfaces.cli.context import complete, connect
from interfaces.cli.display import ago, print_json, say, state, table

SHORT_ID = 8
Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]


class ApprovalList(BaseModel):
    """`brainops approvals --json`."""

    approvals: list[Approval]


def approvals(
    every: Annotated[bool, typer.Option("--all", help="Also those that were answered or have expired.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many with --all.")] = 20,
    json: Json = False,
) -> None:
    """List the questions that wait for an answer, oldest first."""
    complete(_list(every, limit, json))


async def _list(every: bool, limit: int, json: bool) -> None:
    async with connect() as stack:
        store = IncidentStore(stack.database)
        found = list(await store.approvals(limit) if every else await store.pending_approvals())
    if json:
        print_json(ApprovalList(approvals=found))
    elif not found:
        say("Nothing was ever asked." if every else "Nothing waits for your answer.")
    else:
        say(approval_table(found, datetime.now(UTC)))
        if not every:
            say("Answer with `brainops approve ID` or `brainops reject ID`.")


def approval_table(found: Sequence[Approval], now: datetime) -> Table:
    """Approvals for people."""
    rows = [
        (
            str(approval.id)[:SHORT_ID],
            approval.service,
            state(approval.status.value),
            approval.question,
            ago(approval.expires_at, now) if approval.status is ApprovalStatus.PENDING else _answered(approval, now),
        )
        for approval in found
    ]
    return table("Approvals", ("id", "service", "state", "question", "expires"), rows, elastic="question")


def _answered(approval: Approval, now: datetime) -> str:
    by = f" by {approval.decided_by.name}" if approval.decided_by else ""
    return f"{ago(approval.decided_at, now)}{by}" if approval.decided_at else "-"
