"""Cursors: places in a list, given to callers as text that means nothing to them."""

import base64
import binascii
import json
from datetime import datetime

from brainops.errors import BadInputError

_LONGEST = 2_000


def message_cursor(session_id: str, seq: int) -> str:
    """A place in a session."""
    return _written(["message", session_id, seq])


def message_place(cursor: str, session_id: str, field: str) -> int:
    """The sequence number of a cursor of this session. Raises BadInputError for any other text."""
    match _read(cursor):
        case ["message", str(session), int(seq)] if session == session_id and 0 <= seq < 2**31:
            return seq
        case _:
            raise _wrong(cursor, field, f"a page of session {session_id!r}")


def session_cursor(last_at: datetime, session_id: str) -> str:
    """A place in the list of sessions."""
    return _written(["session", last_at.isoformat(), session_id])


def session_place(cursor: str, field: str) -> tuple[datetime, str]:
    """When the session of a cursor was used last, and its id. Raises BadInputError for any other text."""
    match _read(cursor):
        case ["session", str(written), str(session_id)]:
            at = _instant(written)
            if at is not None and "\x00" not in session_id and session_id.isprintable():
                return at, session_id
        case _:
            pass
    raise _wrong(cursor, field, "a page of sessions")


def _written(place: list[str | int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _read(cursor: str) -> object:
    if len(cursor) > _LONGEST or not cursor.isascii():
        return None
    try:
        return json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None


def _instant(written: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _wrong(cursor: str, field: str, list_name: str) -> BadInputError:
    return BadInputError(
        f"{field}: {cursor[:60]!a} is no cursor of {list_name}; give one that such a page gave, or none"
    )
