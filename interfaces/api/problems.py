"""Errors as `application/problem+json` (RFC 9457): every answer that is not a success has this one shape.

`detail` is a sentence that names the thing, the value and the remedy. Causes that a caller cannot act on stay in
the log of the API process, where the request id finds them.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from brainops.errors import (
    BadInputError,
    BrainOpsError,
    ConflictError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)

logger = structlog.get_logger("api")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
MOST_MISTAKES = 20
"""That are told of one request."""

_STATUS_OF: tuple[tuple[type[BrainOpsError], int], ...] = (
    (NotFoundError, 404),
    (ConflictError, 409),
    (BadInputError, 400),
    (NotAllowedError, 403),
    (UnavailableError, 503),
)
"""The first class that matches gives the status; every other error of ours is a 500."""

_REMEDY_OF = {
    404: "No such resource. GET /openapi.json lists the paths.",
    405: "The path does not take this method. GET /openapi.json lists what it takes.",
}


class Problem(BaseModel):
    """What went wrong and what to do (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:brainops:problem:forbidden"])
    """Names the kind of problem, for programs."""
    title: str = Field(examples=["Forbidden"])
    status: int = Field(examples=[403])
    detail: str = Field(examples=["The key 'ci' has not the scope operate. Create one that has."])
    instance: str = Field(examples=["/v1/heartbeats/backup"])
    """Path of the request."""
    request_id: str = Field(examples=["0f8fad5bd9cb469fa16570867728950e"])
    """Finds the request in the log of the API process."""


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {"description": "A problem", "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
}
"""Declared for every route."""


def problem_body(
    status: int, detail: str, *, instance: str, request_id: str, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The members of a problem; `extra` are further ones, such as `errors`."""
    title = HTTPStatus(status).phrase
    return {
        "type": f"urn:brainops:problem:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "request_id": request_id,
        **(extra or {}),
    }


def problem(
    request: Request,
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """A problem as an answer to `request`."""
    body = problem_body(
        status,
        detail,
        instance=request.url.path,
        request_id=str(request.scope.get("request_id", "")),
        extra=extra,
    )
    return JSONResponse(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def status_of(error: BrainOpsError) -> int:
    """The HTTP status for an error of ours."""
    return next((status for kind, status in _STATUS_OF if isinstance(error, kind)), 500)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""

    @app.exception_handler(BrainOpsError)
    async def ours(request: Request, error: BrainOpsError) -> JSONResponse:
        status = status_of(error)
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if error.retryable else {}
        return problem(request, status, str(error), headers=headers)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        detail = error.detail if error.detail != phrase else _REMEDY_OF.get(error.status_code, phrase)
        return problem(request, error.status_code, detail, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        mistakes = [
            {"field": ".".join(str(part) for part in mistake["loc"]), "problem": str(mistake["msg"])}
            for mistake in error.errors()[:MOST_MISTAKES]
        ]
        detail = "; ".join(f"{mistake['field']}: {mistake['problem']}" for mistake in mistakes)
        return problem(request, 422, detail, extra={"errors": mistakes})

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        request_id = str(request.scope.get("request_id", ""))
        logger.error("request failed", request_id=request_id, path=request.url.path, exc_info=error)
        detail = f"BrainOps failed on this request. The log of the API process has the cause under {request_id}."
        # This answer is made outside of the middleware that adds these to all others.
        headers = {"X-Request-ID": request_id, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        return problem(request, 500, detail, headers=headers)
