"""Heartbeats in: a job that reports here when it has run can be missed when it has not."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from brainops.access.keys import Scope
from brainops.errors import BadInputError
from interfaces.api.access import require
from interfaces.api.resources import Resources, resources

MAX_HEARTBEAT_BYTES = 64 * 1024

router = APIRouter(prefix="/v1/heartbeats", tags=["heartbeats"])

HeartbeatName = Annotated[
    str,
    Path(pattern=r"^[a-z][a-z0-9_-]{0,62}$", description="Name of the job", examples=["nightly-backup"]),
]


class Heartbeat(BaseModel):
    """The last report of one job."""

    name: str = Field(examples=["nightly-backup"])
    at: datetime
    """When it was received."""
    body: Any = Field(default=None, examples=[{"rows": 120431}])
    """What the job sent: JSON, or text."""


class Heartbeats(BaseModel):
    """Every job that has ever reported."""

    heartbeats: list[Heartbeat]


@router.post(
    "/{name}",
    summary="Report that a job has run",
    dependencies=[Depends(require(Scope.OPERATE))],
    openapi_extra={
        "requestBody": {
            "required": False,
            "content": {
                "application/json": {"schema": {}, "example": {"rows": 120431}},
                "text/plain": {"schema": {"type": "string"}, "example": "120431 rows"},
            },
        }
    },
)
async def report(name: HeartbeatName, request: Request, held: Annotated[Resources, Depends(resources)]) -> Heartbeat:
    """Scope `operate`. The body, at most 64 KiB of JSON or text, is kept with the time and may be left out."""
    body = parse_body(await _read(request), request.headers.get("content-type", ""))
    at = datetime.now(UTC)
    await held.checks.record_heartbeat(name, at, body)
    return Heartbeat(name=name, at=at, body=body)


@router.get("", summary="The last report of every job", dependencies=[Depends(require(Scope.READ))])
async def list_heartbeats(held: Annotated[Resources, Depends(resources)]) -> Heartbeats:
    """Scope `read`."""
    kept = await held.checks.heartbeats()
    return Heartbeats(heartbeats=[Heartbeat.model_validate(row, from_attributes=True) for row in kept])


async def _read(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_HEARTBEAT_BYTES:
            raise HTTPException(413, f"A heartbeat's body is at most {MAX_HEARTBEAT_BYTES} bytes; send less.")
    return bytes(received)


def parse_body(raw: bytes, content_type: str) -> Any:
    """The JSON value or the text of a body; None for an empty one. Raises BadInputError for JSON that is none.

    What Postgres cannot keep as jsonb is refused here with its reason: NUL, lone surrogates, NaN.
    """
    if not raw.strip():
        return None
    if content_type.partition(";")[0].strip().lower().endswith("json"):
        try:
            value = json.loads(raw, parse_constant=_no_constant)
            kept = json.dumps(value, ensure_ascii=False)
            kept.encode()
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise BadInputError(f"the body is not JSON that can be kept ({reason}); send JSON or text/plain") from error
    else:
        value = kept = raw.decode("utf-8", "replace")
    if "\x00" in kept or "\\u0000" in kept:
        raise BadInputError("the body holds a NUL character, which cannot be kept; send it without")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
