"""Memory over HTTP: a route for each of its public calls, made from their one table; and the events of coding agents."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from starlette.routing import Route

from brainops.access.keys import Scope
from brainops.contracts import memory as m
from brainops.contracts.base import Contract
from brainops.memory.calls import CALLS, Call
from interfaces.api.access import Caller, on_unix_socket, require
from interfaces.api.problems import MEDIA_TYPE as PROBLEM
from interfaces.api.resources import Resources, resources
from interfaces.hooks.events import LATER_EVENTS, HookAnswer, HookPayload, read_payload
from interfaces.mcp.http import McpEndpoint

JSON = "application/json"
SETTLE_SECONDS = 0.3
"""An event waits so long for those before it that are not stored yet."""

_SCOPES = {"read": Scope.READ, "operate": Scope.OPERATE}

Held = Annotated[Resources, Depends(resources)]
SessionName = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9:_./@-]{0,127}$", examples=["c2f1-77"])]

calls = APIRouter(prefix="/v1/memory", tags=["memory"])
reading = APIRouter(prefix="/v1", tags=["memory"], dependencies=[Depends(require(Scope.READ))])


def install(app: FastAPI) -> None:
    """Add the routes to `app`."""
    app.include_router(calls)
    app.include_router(reading)
    app.router.routes.append(Route("/mcp", McpEndpoint(), methods=["POST"], include_in_schema=False))


def _answer(contract: Contract) -> Response:
    # Not through the response model, which would check again what a contract has checked.
    return Response(contract.model_dump_json(), media_type=JSON)


def _endpoint(call: Call) -> Callable[..., Awaitable[Response]]:
    async def endpoint(body: Any, held: Any) -> Response:
        return _answer(await held.memory.call(call.name, body))

    if call.request is m.Nothing:
        endpoint.__defaults__ = (m.Nothing(), None)
    endpoint.__annotations__ = {"body": Annotated[call.request, Body()], "held": Held, "return": Response}
    endpoint.__name__ = call.name
    endpoint.__doc__ = f"Scope `{call.needs}`. {(call.request.__doc__ or '').strip()}"
    return endpoint


def _add(call: Call) -> None:
    calls.add_api_route(
        f"/{call.name}",
        _endpoint(call),
        methods=["POST"],
        response_model=call.answer,
        summary=call.summary,
        operation_id=f"memory_{call.name}",
        dependencies=[Depends(require(_SCOPES[call.needs]))],
    )


for _call in CALLS:
    _add(_call)


@calls.get("/stats", summary="How much of what is kept.", response_model=m.Stats)
async def stats(held: Held, _caller: Annotated[object, Depends(require(Scope.READ))]) -> Response:
    """Scope `read`."""
    return _answer(await (await held.memory.service()).call("stats", m.Nothing()))


@calls.post(
    "/hooks/claude-code",
    summary="An event of a coding agent",
    response_model=HookAnswer,
    responses={202: {"description": "It is on disk; its work is done soon."}, 400: {"content": {PROBLEM: {}}}},
    openapi_extra={"requestBody": {"content": {JSON: {"schema": HookPayload.model_json_schema()}}}},
)
async def hook(
    payload: Annotated[dict[str, Any], Body()],
    request: Request,
    held: Held,
    caller: Annotated[Caller, Depends(require(Scope.OPERATE))],
) -> Response:
    """Scope `operate`, and `read` to be told something: without it an event is stored, and answered by nothing. Takes what Claude Code gives its hooks and answers what a hook prints. Delivered again, an event
    stores nothing twice. With `at`, the time at which it happened, everything is done before the answer."""
    event = read_payload(payload)
    # Only who may open the socket is on this machine for sure, and owns the files that the event names.
    home = Path.home() if on_unix_socket(request.scope) else None
    if home is None:
        event = event.model_copy(update={"transcript_path": ""})
    if event.hook_event_name in LATER_EVENTS and event.at is None:
        await held.memory.take_in(event)
        return JSONResponse({}, 202)
    await held.memory.settled(SETTLE_SECONDS)
    events = await held.memory.hook_events()
    if not caller.may(Scope.READ):
        await events.record(event, home)
        return JSONResponse({})
    answer = await events.answer(event, home)
    return Response(answer.model_dump_json(exclude_none=True), media_type=JSON)


@reading.get("/sessions", summary="Sessions, the last used first", response_model=m.SessionPage)
async def sessions(
    held: Held,
    scope: Annotated[str | None, Query(pattern=m.SCOPE_PATTERN, examples=["project:shop"])] = None,
    agent: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 20,
    before: Annotated[str | None, Query(max_length=500, description="Cursor of the page before.")] = None,
) -> Response:
    """Scope `read`."""
    asked = m.ListSessions(scope=scope, agent=agent, limit=limit, before=before)
    return _answer(await (await held.memory.service()).call("session_list", asked))


@reading.get("/sessions/{session_id:path}/messages", summary="A page of a session", response_model=m.MessagePage)
async def messages(
    held: Held,
    session_id: SessionName,
    limit: Annotated[int, Query(ge=1, le=500)] = 20,
    before: Annotated[str | None, Query(max_length=500, description="Cursor to what is older.")] = None,
    after: Annotated[str | None, Query(max_length=500, description="Cursor to what is newer.")] = None,
) -> Response:
    """Scope `read`. Without a cursor: the last ones, oldest first."""
    asked = m.Messages(session_id=session_id, limit=limit, before=before, after=after)
    return _answer(await (await held.memory.service()).call("session_messages", asked))
