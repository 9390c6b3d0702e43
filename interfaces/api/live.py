"""Is the API alive, is what it needs there, and who am I to it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from brainops.access.keys import Scope
from interfaces.api.access import Caller, require
from interfaces.api.problems import RETRY_AFTER_SECONDS, problem
from interfaces.api.resources import Resources, resources

router = APIRouter()


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """The process and what it needs answer."""

    status: Literal["ready"] = "ready"
    parts: dict[str, Literal["reachable", "unreachable"]] = Field(
        examples=[{"database": "reachable", "temporal": "reachable"}]
    )


class Me(BaseModel):
    """The caller."""

    name: str = Field(examples=["ci"])
    """Name of the key; `owner` for the Unix socket without a key."""
    scopes: list[Scope] = Field(examples=[["operate", "read"]])


@router.get("/live", summary="Whether the API process answers", tags=["health"])
async def live() -> Live:
    """Needs no key and looks at nothing else."""
    return Live()


@router.get("/ready", summary="Whether the database and Temporal answer, too", tags=["health"], response_model=Ready)
async def ready(request: Request, held: Annotated[Resources, Depends(resources)]) -> Ready | JSONResponse:
    """Needs no key. 503 names the part that is missing."""
    found = {"database": await held.database.ready()}
    if not held.settings.memory_only:
        found["temporal"] = await held.temporal.reachable()
    parts = {part: "reachable" if answers else "unreachable" for part, answers in found.items()}
    missing = " and ".join(part for part, answers in found.items() if not answers)
    if missing:
        detail = f"Not reachable: {missing}. `brainops status` says more; `brainops up` starts the stack."
        return problem(request, 503, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}, extra={"parts": parts})
    return Ready.model_validate({"parts": parts})


@router.get("/v1/me", summary="Name and scopes of the key", tags=["keys"])
async def me(caller: Annotated[Caller, Depends(require(None))]) -> Me:
    """Any valid key."""
    return Me(name=caller.name, scopes=sorted(caller.scopes))
