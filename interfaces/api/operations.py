"""What runs, what fails, what was done about it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from brainops.access.keys import Scope
from brainops.incidents.store import IncidentStore
from interfaces.api.access import require
from interfaces.api.resources import Resources, resources
from interfaces.api.views import IncidentLine, IncidentList, IncidentStory, Overview, read_overview, read_story

router = APIRouter(prefix="/v1", tags=["operations"], dependencies=[Depends(require(Scope.READ))])

Held = Annotated[Resources, Depends(resources)]


@router.get("/status", summary="Services, open incidents, pending approvals, agents")
async def status(held: Held) -> Overview:
    """Scope `read`."""
    return await read_overview(held.database)


@router.get("/incidents", summary="Incidents, newest first")
async def incidents(
    held: Held,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    open_only: Annotated[bool, Query(alias="open", description="Only those that are open.")] = False,
    service: Annotated[str | None, Query(max_length=63, examples=["checkout"])] = None,
) -> IncidentList:
    """Scope `read`."""
    rows = await IncidentStore(held.database).list(limit=limit, open_only=open_only, service=service)
    return IncidentList(incidents=[IncidentLine.of(row) for row in rows])


@router.get("/incidents/{incident_id}", summary="One incident with everything that was seen and done")
async def incident(
    held: Held,
    incident_id: Annotated[
        str, Path(min_length=4, max_length=36, pattern="^[0-9a-fA-F-]+$", description="Id or prefix")
    ],
) -> IncidentStory:
    """Scope `read`."""
    return await read_story(held.database, incident_id)
