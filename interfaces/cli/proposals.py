"""`brainops proposals`: what ContextKeeper would change because it repeats, and your decision."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table

from brainops.contracts.base import Actor
from brainops.contracts.keeping import Measured, Proposal, ProposalStatus
from brainops.errors import BadInputError
from brainops.memory.proposals import ProposalStore
from interfaces.cli.context import complete, connect
from interfaces.cli.display import ago, facts, plain, print_json, say, state, table, when

SHORT_ID = 8

app = typer.Typer(
    help="What repeats, and what would be done about it: list, show, accept, reject.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ProposalId = Annotated[str, typer.Argument(metavar="ID", help="The proposal's id, or its first characters.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Kept with the decision.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]


class ProposalList(BaseModel):
    """`brainops proposals list --json`."""

    proposals: list[Proposal]


@app.callback()
def proposals(context: typer.Context, json: Json = False) -> None:
    """List what is proposed."""
    if context.invoked_subcommand is None:
        complete(_list(ProposalStatus.OPEN, 50, json))


@app.command("list")
def list_proposals(
    every: Annotated[bool, typer.Option("--all", help="Also those that were decided.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")] = 50,
    json: Json = False,
) -> None:
    """List what is proposed."""
    complete(_list(None if every else ProposalStatus.OPEN, limit, json))


@app.command()
def show(proposal_id: ProposalId, json: Json = False) -> None:
    """All of one proposal: what, why, its evidence, and what became of it."""
    complete(_show(proposal_id, json))


@app.command()
def accept(proposal_id: ProposalId, reason: Reason = "", json: Json = False) -> None:
    """Have a proposal carried out. What it brings is measured from then on."""
    complete(_decide(proposal_id, reason, json, accepted=True))


@app.command()
def reject(proposal_id: ProposalId, reason: Reason = "", json: Json = False) -> None:
    """Decide against a proposal; it is not made again."""
    complete(_decide(proposal_id, reason, json, accepted=False))


async def _list(status: ProposalStatus | None, limit: int, json: bool) -> None:
    async with connect() as stack:
        found = await ProposalStore(stack.database).list(status=status, limit=limit)
    if json:
        print_json(ProposalList(proposals=found))
    elif not found:
        say("Nothing is proposed." if status else "Nothing was ever proposed.")
    else:
        say(proposal_table(found, datetime.now(UTC)))
        say("Look closer with `brainops proposals show ID`, then `accept ID` or `reject ID`.")


def proposal_table(found: Sequence[Proposal], now: datetime) -> Table:
    """Proposals for people."""
    rows = [
        (
            str(proposal.id)[:SHORT_ID],
            state(proposal.status.value),
            " ".join(proposal.what.split()) or "(only its key is kept)",
            str(proposal.evidence.count) if proposal.evidence else "",
            proposal.measured.verdict if proposal.measured else "",
            ago(proposal.created_at, now),
        )
        for proposal in found
    ]
    return table("Proposals", ("id", "state", "what", "seen", "effect", "made"), rows, elastic="what")


async def _show(proposal_id: str, json: bool) -> None:
    async with connect() as stack:
        proposal = await ProposalStore(stack.database).get(proposal_id)
    if json:
        print_json(proposal)
        return
    now = datetime.now(UTC)
    evidence = proposal.evidence
    decided = f"{when(proposal.decided_at, now)} by {proposal.decided_by}" if proposal.decided_at else ""
    say(
        plain(str(proposal.id), "bold"),
        facts(
            [
                ("state", state(proposal.status.value)),
                ("what", proposal.what),
                ("why", proposal.why),
                ("evidence", ", ".join(evidence.ids) if evidence else ""),
                ("expected", proposal.expected_effect),
                ("would", proposal.kind.value.replace("_", " ")),
                ("made", when(proposal.created_at, now)),
                ("decided", decided),
                ("reason", proposal.reason),
                ("measured", _measured(proposal.measured)),
            ]
        ),
    )


def _measured(measured: Measured | None) -> str:
    if measured is None:
        return ""
    return (
        f"{measured.verdict}: {measured.after_per_week:.1f} a week over {measured.days} days, "
        f"{measured.before_per_week:.1f} before"
    )


async def _decide(proposal_id: str, reason: str, json: bool, *, accepted: bool) -> None:
    actor = _person()
    async with connect() as stack:
        store = ProposalStore(stack.database)
        proposal = await store.get(proposal_id)
        decide = store.accept if accepted else store.reject
        decided = await decide(proposal.id, actor, reason)
    if json:
        print_json(decided)
    elif decided.status is ProposalStatus.WITHDRAWN:
        say(f"Withdrawn: what {str(decided.id)[:SHORT_ID]} is about is no longer there. Nothing was changed.")
    else:
        say(f"{decided.status.value.capitalize()}: {' '.join(decided.what.split())}")


def _person() -> Actor:
    # Imported here: it costs half a second, and most commands only read.
    from workers.runtime import person  # noqa: PLC0415

    try:
        return person()
    except ValueError as error:
        raise BadInputError(f"BRAINOPS_ACTOR cannot be used: {error}") from error
