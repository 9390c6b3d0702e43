"""`brainops approve` and `reject`: a person's answer, given once."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from brainops.contracts.approval import Approval, ApprovalDecision, ApprovalStatus
from brainops.errors import BadInputError, ConflictError, NotFoundError
from brainops.incidents.store import IncidentStore
from interfaces.cli.approvals import SHORT_ID
from interfaces.cli.context import complete, connect
from interfaces.cli.display import say, when
from interfaces.cli.workflow_errors import translated
from workers.runtime import person
from workflows.incident import IncidentWorkflow

PREFIXES_SEARCHED = 500
"""A prefix is looked up among this many of the newest approvals."""

ApprovalId = Annotated[str, typer.Argument(metavar="ID", help="The approval's id, or its first characters.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Kept with the answer.")]


def approve(approval_id: ApprovalId, reason: Reason = "") -> None:
    """Let a waiting action be done. Its preconditions are checked again first."""
    complete(_decide(approval_id, approved=True, reason=reason))


def reject(approval_id: ApprovalId, reason: Reason = "") -> None:
    """Forbid a waiting action. The incident is handed to a person."""
    complete(_decide(approval_id, approved=False, reason=reason))


async def _decide(text: str, *, approved: bool, reason: str) -> None:
    if len(reason) > 500:
        raise BadInputError(f"the reason has {len(reason)} characters; give at most 500")
    async with connect() as stack:
        approval = await find_approval(IncidentStore(stack.database), text)
        refuse_decided(approval, datetime.now(UTC))
        client = await stack.temporal()
        decision = ApprovalDecision(approval_id=approval.id, approved=approved, actor=person(), reason=reason)
        async with translated(f"the incident of {approval.service}"):
            # One of the SDK's overloads is partly untyped.
            decided = await client.get_workflow_handle(approval.workflow_id).execute_update(  # pyright: ignore[reportUnknownMemberType]
                IncidentWorkflow.decide_approval, decision
            )
    say(f"{decided.status.value.capitalize()}: {decided.question}")


async def find_approval(store: IncidentStore, text: str) -> Approval:
    """The approval of that id or of that unique prefix. Raises NotFoundError or BadInputError."""
    wanted = text.strip().lower()
    try:
        return await store.approval(UUID(wanted))
    except ValueError:
        pass
    if len(wanted) < 4:
        raise BadInputError(f"{text!r} is too short for an approval's id; give at least 4 characters")
    found = [approval for approval in await store.approvals(PREFIXES_SEARCHED) if str(approval.id).startswith(wanted)]
    if not found:
        raise NotFoundError(f"there is no approval {text!r}; `brainops approvals --all` lists them")
    if len(found) > 1:
        names = ", ".join(str(approval.id) for approval in found[:5])
        raise BadInputError(f"{text!r} could be {names}; give more characters")
    return found[0]


def refuse_decided(approval: Approval, now: datetime) -> None:
    """Raise ConflictError when an answer would come too late."""
    name = str(approval.id)[:SHORT_ID]
    if approval.status is ApprovalStatus.PENDING and approval.expires_at > now:
        return
    if approval.status in (ApprovalStatus.APPROVED, ApprovalStatus.REJECTED):
        by = f" by {approval.decided_by}" if approval.decided_by else ""
        at = f" {when(approval.decided_at, now)}" if approval.decided_at else ""
        raise ConflictError(f"approval {name} was {approval.status.value} already{by}{at}")
    if approval.status is ApprovalStatus.WITHDRAWN:
        raise ConflictError(f"approval {name} was withdrawn: its incident went on without the action")
    raise ConflictError(
        f"approval {name} expired {when(approval.expires_at, now)} and counts as rejected; "
        "the incident asks again if the action is still wanted"
    )
