"""What holds for every request: an id, a bounded body in bounded time, and headers that keep browsers honest.

Plain ASGI, because `BaseHTTPMiddleware` would read bodies through a second queue.
"""

import asyncio
import re
from uuid import uuid4

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interfaces.api.problems import MEDIA_TYPE, problem_body

MAX_BODY_BYTES = 1024 * 1024
MAX_MEMORY_BYTES = 8 * 1024 * 1024
"""Where sessions are told: a tool's result may be long."""

MEMORY_PREFIXES = ("/v1/memory/", "/mcp")
BODY_TIMEOUT_SECONDS = 30.0
"""A body that takes longer to arrive is given up."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _too_large(most: int) -> str:
    return f"The body is larger than {most} bytes; send less."


class RequestFrame:
    """Gives each request its id (the caller's `X-Request-ID` if it is sane) and refuses bodies over 1 MiB (memory: 8)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; everything that is not HTTP passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        named = headers.get("x-request-id", "")
        request_id = named if _REQUEST_ID.fullmatch(named) else uuid4().hex
        scope["request_id"] = request_id

        async def send_framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["X-Request-ID"] = request_id
                answer["X-Content-Type-Options"] = "nosniff"
                answer.setdefault("Cache-Control", "no-store")
            await send(message)

        most = MAX_MEMORY_BYTES if scope["path"].startswith(MEMORY_PREFIXES) else MAX_BODY_BYTES
        declared = headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared) > most:
            body = problem_body(413, _too_large(most), instance=scope["path"], request_id=request_id)
            # The body is not read, so that the connection cannot be used again.
            refusal = JSONResponse(body, 413, {"Connection": "close"}, media_type=MEDIA_TYPE)
            await refusal(scope, receive, send_framed)
            return
        await self._app(scope, _bounded(receive, most), send_framed)


def _bounded(receive: Receive, most: int) -> Receive:
    received = 0
    complete = False

    async def receive_bounded() -> Message:
        nonlocal received, complete
        if complete:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), BODY_TIMEOUT_SECONDS)
        except TimeoutError as error:
            raise HTTPException(408, f"The body did not arrive within {BODY_TIMEOUT_SECONDS:.0f} s.") from error
        complete = not message.get("more_body", False)
        received += len(message.get("body", b""))
        if received > most:
            raise HTTPException(413, _too_large(most))
        return message

    return receive_bounded
