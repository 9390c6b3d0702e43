"""`brainops retry` and `brainops dismiss`: what a person may tell an open incident."""

from typing import Annotated

import typer

from brainops.contracts.incident import Dismissal
from brainops.errors import ConflictError
from brainops.incidents.rows import IncidentRow
from brainops.incidents.store import IncidentStore
from interfaces.cli.context import Connections, complete, connect
from interfaces.cli.display import say
from interfaces.cli.workflow_errors import translated
from workers.runtime import person
from workflows.incident import IncidentWorkflow

IncidentId = Annotated[str, typer.Argument(metavar="ID", help="The incident's id, or its first characters.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Kept in the incident's timeline.")]


def retry(incident_id: IncidentId) -> None:
    """Look at an open incident anew, after you have changed something. Remedies that did not help may be tried again."""
    complete(_retry(incident_id))


def dismiss(incident_id: IncidentId, reason: Reason = "no reason given") -> None:
    """Close an open incident without mending anything. If its check goes on failing, a new one is opened."""
    complete(_dismiss(incident_id, reason))


async def _retry(text: str) -> None:
    async with connect() as stack:
        row = await _open_incident(stack, text)
        client = await stack.temporal()
        async with translated(row.workflow_id):
            await client.get_workflow_handle(row.workflow_id).signal(IncidentWorkflow.reconsider)
    say(f"{row.service}/{row.check} is looked at anew; `brainops incidents {row.plan_id}` tells how it goes.")


async def _dismiss(text: str, reason: str) -> None:
    async with connect() as stack:
        row = await _open_incident(stack, text)
        client = await stack.temporal()
        async with translated(row.workflow_id):
            await client.get_workflow_handle(row.workflow_id).signal(
                IncidentWorkflow.dismiss, Dismissal(reason=reason[:500], actor=person())
            )
    say(f"{row.service}/{row.check} is dismissed.")


async def _open_incident(stack: Connections, text: str) -> IncidentRow:
    row = (await IncidentStore(stack.database).get(text)).row
    if row.status.closed:
        raise ConflictError(f"incident {row.plan_id} is closed already ({row.status.value}); nothing is left to do")
    return row
