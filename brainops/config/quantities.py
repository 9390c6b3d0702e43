"""Durations and sizes as people write them: `500ms`, `2m`, `1h30m`; `200MB`, `1.5GiB`."""

import re
import reprlib
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_DURATION_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
_SIZE_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?b)", re.IGNORECASE)
_LONGEST = timedelta(days=3650)
_LARGEST = 2**60


def _shown(value: object) -> str:
    """What was given, short enough for a message."""
    return repr(value) if isinstance(value, bool | float | None) else reprlib.repr(value)


def parse_duration(value: object) -> timedelta:
    """Read `500ms`, `2m`, `1h30m`, or pass a timedelta on.

    A bare number is refused: nobody can tell whether it means seconds. Raises ValueError with the remedy.
    """
    if isinstance(value, timedelta):
        return value
    text = value.replace(" ", "") if isinstance(value, str) else ""
    if not _DURATION.fullmatch(text):
        raise ValueError(
            f"{_shown(value)} is not a duration; write a number with its unit, such as 500ms, 2s, 5m or 1h30m"
        )
    seconds = sum(float(number) * _DURATION_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{_shown(value)} is longer than ten years; write a shorter duration")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """Write a duration so that `parse_duration` reads the same one, to the millisecond."""
    milliseconds = round(value.total_seconds() * 1000)
    if milliseconds == 0:
        return "0s"
    parts: list[str] = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_size(value: object) -> int:
    """Read `200MB`, `1.5GiB`, `512 kB` as bytes, or pass a whole number of bytes on. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"{_shown(value)} is negative; write a size such as 200MB")
        return _bounded_size(value, value)
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{_shown(value)} is not a size; write a number with its unit, such as 200MB or 1.5GiB")
    return _bounded_size(float(match[1]) * _SIZE_BYTES[match[2].lower()], value)


def _bounded_size(size: float, value: object) -> int:
    if size > _LARGEST:
        raise ValueError(f"{_shown(value)} is larger than any disk; write a smaller size")
    return round(size)


def format_size(value: int) -> str:
    """Write a size for people, in decimal units with one digit: `1.5 GB`."""
    size = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*(\d+(\.\d+)?\s*(ms|s|m|h|d|w)\s*)+$",
            "examples": ["500ms", "2m", "1h30m"],
        }
    ),
]
"""A timedelta, written as `500ms`, `2m`, `1h30m`."""

ByteSize = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["200MB", "1.5GiB"]}),
]
"""A whole number of bytes, written as `200MB`, `1.5GiB`."""


_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def parse_percent(value: object) -> float:
    """Read `85%` as 85.0, or pass a number on. Raises ValueError for what is not between 0 and 100."""
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    number = float(match[1]) if match else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 100:
        raise ValueError(f"{_shown(value)} is not a share; write a percentage such as 85%")
    return float(number)


Percent = Annotated[
    float,
    BeforeValidator(parse_percent),
    WithJsonSchema({"type": ["string", "number"], "examples": ["85%", "99.5%"]}),
]
"""0 to 100, written as `85%`."""
