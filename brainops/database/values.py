"""Values on their way into and out of jsonb."""

import json
import re
from typing import Any

from pydantic import BaseModel

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def to_json(value: object) -> str:
    """JSON text that Postgres takes as jsonb: NUL, which it cannot hold, becomes the replacement character.

    Pydantic models inside `value` are written as pydantic writes them.
    """
    text = value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value, default=_plain)
    return _NUL.sub(r"\1\\ufffd", text)


def _plain(value: Any) -> Any:  # the shape that json.dumps gives and takes
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")
