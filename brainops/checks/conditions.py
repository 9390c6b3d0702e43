"""Whether what a probe saw is what the file's conditions want."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import cast

from brainops.config.conditions import (
    Choice,
    Condition,
    Glob,
    ValueType,
    Written,
    parse_condition,
    read_written,
)
from brainops.config.environment import looks_secret
from brainops.config.quantities import format_duration, format_size
from brainops.contracts.check import Reason
from brainops.telemetry.redaction import REDACTED, clean

Value = None | bool | int | float | str | timedelta | Sequence["Value"] | Mapping[str, "Value"]
"""What a probe saw: sizes in bytes, percentages from 0 to 100, JSON as text or as it was read. None: it cannot be seen."""

Verdict = tuple[Reason, str]
"""What is wrong, and a sentence on it; `GOOD` if nothing is."""

GOOD: Verdict = (Reason.NONE, "")

_SHOWN = 120
_ABSENT = object()

_REASONS: Mapping[str, Reason] = {
    "STATUS": Reason.STATUS,
    "RESPONSE_TIME": Reason.SLOW,
    "BODY": Reason.BODY,
    "HEADER": Reason.HEADER,
    "CERTIFICATE_EXPIRATION": Reason.CERTIFICATE,
    "REDIRECTS": Reason.REDIRECT,
    "ANSWERS": Reason.DNS,
    "RCODE": Reason.DNS,
    "TTL": Reason.DNS,
    "MEMORY": Reason.MEMORY,
    "FILES": Reason.FILES,
    "THREADS": Reason.THREADS,
    "CHILDREN": Reason.CHILDREN,
    "CPU": Reason.CPU,
    "HEALTH": Reason.HEALTH,
    "RESULT": Reason.QUERY,
    "CONNECTIONS_USED": Reason.CONNECTIONS,
    "TRANSACTION_AGE": Reason.OLD_TRANSACTION,
    "LAG": Reason.LAG,
    "SIZE": Reason.DISK,
    "EXIT_CODE": Reason.EXIT_CODE,
    "OUTPUT": Reason.OUTPUT,
    "DISK_USED": Reason.DISK,
    "DISK_FREE": Reason.DISK,
    "INODES_USED": Reason.INODES,
    "MEMORY_USED": Reason.MEMORY,
    "SWAP_USED": Reason.SWAP,
    "CPU_USED": Reason.CPU,
    "LOAD": Reason.LOAD,
    "CLOCK_JUMP": Reason.CLOCK,
    "MATCHES": Reason.LOG_RATE,
    "NEW_KINDS": Reason.NEW_LINES,
}
"""The reason of each value; `condition` for those that are not here."""


def judge(conditions: Sequence[str], values: Mapping[str, Value], secrets: Collection[str] = ()) -> Verdict:
    """The first of `conditions` that does not hold, as the reason of its value and a redacted sentence; else `GOOD`.

    `values`: by name without brackets. A value that is None or not there makes every condition over it fail. Text is
    read as JSON where a condition has a path into it. `secrets`: values that must not be told. Raises ValueError for a text that is no condition: the file's
    were read before.
    """
    if not conditions:
        return GOOD
    seen = _Seen(values, secrets)
    for text in conditions:
        condition = parse_condition(text)
        if sentence := seen.contradiction(condition):
            return _REASONS.get(condition.name, Reason.CONDITION), sentence
    return GOOD


@dataclass
class _Seen:
    """The values of one probe; JSON in them is read once."""

    values: Mapping[str, Value]
    secrets: Collection[str] = ()
    read: dict[str, object] = field(default_factory=dict[str, object])

    def contradiction(self, condition: Condition) -> str:
        """A sentence when the condition does not hold, else the empty one."""
        whole = self.values.get(condition.name)
        if whole is None:
            return f"{condition.subject} cannot be seen, wanted {_wish(condition)}"
        actual = self._actual(condition, whole)
        if condition.function == "has":
            actual = actual is not _ABSENT
        elif condition.function == "len":
            actual = _length(actual)
        if _holds(actual, condition):
            return ""
        return f"{condition.subject} is {_told(actual, condition, self.secrets)}, wanted {_wish(condition)}"

    def _actual(self, condition: Condition, whole: Value) -> object:
        if condition.name == "HEADER" and isinstance(whole, Mapping):
            return whole.get(str(condition.path[0]).lower(), _ABSENT) if condition.path else whole
        if not condition.path and condition.function != "len":
            return whole.strip() if isinstance(whole, str) else whole
        found: object = self._as_json(condition.name, whole) if isinstance(whole, str) else whole
        if not condition.path and not isinstance(found, Mapping | list):
            return whole
        for step in condition.path:
            if isinstance(step, str) and isinstance(found, Mapping):
                found = cast("Mapping[str, object]", found).get(step, _ABSENT)
            elif isinstance(step, int) and isinstance(found, list | tuple) and step < len(cast("list[object]", found)):
                found = cast("list[object]", found)[step]
            else:
                return _ABSENT
        return cast("object", found)

    def _as_json(self, name: str, text: str) -> object:
        if name not in self.read:
            try:
                self.read[name] = json.loads(text)
            except (ValueError, RecursionError):
                self.read[name] = _ABSENT
        return self.read[name]


def _length(value: object) -> object:
    return len(cast("Sequence[object]", value)) if isinstance(value, str | list | tuple | Mapping) else _ABSENT


def _holds(actual: object, condition: Condition) -> bool:
    wanted = condition.wanted
    if condition.operator == "==":
        return _equals(actual, wanted)
    if condition.operator == "!=":
        return not _equals(actual, wanted)
    if not isinstance(wanted, Written):
        return False
    number = _number(actual, wanted.type)
    if number is None:
        return False
    limit = wanted.number
    match condition.operator:
        case "<":
            return number < limit
        case "<=":
            return number <= limit
        case ">":
            return number > limit
        case ">=":
            return number >= limit


def _equals(actual: object, wanted: Written | Glob | Choice) -> bool:
    """A list equals what is in it; what is not there equals nothing."""
    if isinstance(actual, list | tuple):
        return any(_equals(item, wanted) for item in _leaves(cast("Sequence[object]", actual)))
    if isinstance(wanted, Choice):
        return any(_equals(actual, option) for option in wanted.options)
    if isinstance(wanted, Glob):
        text = _text(actual)
        return text is not None and bool(wanted.expression.search(_encodable(text)))
    if actual is None:
        return wanted.type is ValueType.NULL
    if isinstance(actual, bool):
        return wanted.type is ValueType.TRUTH and wanted.text == _text(actual)
    if isinstance(actual, str) and actual == wanted.text:
        return True
    number = _number(actual, wanted.type)
    return number is not None and number == wanted.number


def _leaves(items: Sequence[object]) -> Iterator[object]:
    """What is in a list and in the lists in it, however deep a hostile answer nests them."""
    pending = list(reversed(items))
    while pending:
        item = pending.pop()
        if isinstance(item, list | tuple):
            pending.extend(reversed(cast("Sequence[object]", item)))
        else:
            yield item


def _number(actual: object, kind: ValueType) -> float | None:
    """What of `actual` can be compared with something of this type: seconds, bytes, percent or a plain number."""
    if isinstance(actual, timedelta):
        return actual.total_seconds()
    if isinstance(actual, int | float) and not isinstance(actual, bool):
        return actual
    if isinstance(actual, str) and len(actual) <= _SHOWN:
        read = read_written(actual.strip())
        if read.type in (kind, ValueType.NUMBER):
            return None if read.type is ValueType.TEXT else read.number
    return None


def _text(actual: object) -> str | None:
    if isinstance(actual, bool):
        return "true" if actual else "false"
    if isinstance(actual, str):
        return actual
    return str(actual) if isinstance(actual, int | float) else None


def _encodable(text: str) -> str:
    """JSON may hold half a character, which no pattern can be searched in."""
    return text.encode("utf-8", "replace").decode()


def _wish(condition: Condition) -> str:
    return str(condition.wanted) if condition.operator == "==" else f"{condition.operator} {condition.wanted}"


def _told(actual: object, condition: Condition, secrets: Collection[str]) -> str:
    if actual is _ABSENT:
        return "not there"
    if not condition.function and any(isinstance(step, str) and looks_secret(step) for step in condition.path):
        return REDACTED
    unit = condition.wanted.type if isinstance(condition.wanted, Written) else ValueType.TEXT
    return _in_words(actual, unit, secrets)


def _in_words(actual: object, unit: ValueType, secrets: Collection[str]) -> str:
    if isinstance(actual, timedelta):
        return f"-{_readable_duration(-actual)}" if actual < timedelta() else _readable_duration(actual)
    if isinstance(actual, bool) or actual is None:
        return {None: "null", True: "true", False: "false"}[actual]
    if isinstance(actual, int | float):
        return f"{actual:.4g}%" if unit is ValueType.PERCENT else _readable_number(actual, unit)
    if isinstance(actual, str):
        return clean(" ".join(actual[:2000].split()), _SHOWN, secrets) or "empty"
    if isinstance(actual, list | tuple):
        items = islice(_leaves(cast("Sequence[object]", actual)), 10)
        return clean(", ".join(_in_words(item, unit, secrets) for item in items), _SHOWN) or "empty"
    return "a mapping" if isinstance(actual, Mapping) else "unreadable"


def _readable_duration(value: timedelta) -> str:
    if value < timedelta(milliseconds=10):
        return f"{value / timedelta(milliseconds=1):.3g}ms"
    coarse = timedelta(seconds=round(value.total_seconds())) if value > timedelta(minutes=1) else value
    return format_duration(coarse)


def _readable_number(value: float, unit: ValueType) -> str:
    if isinstance(value, int):
        small = abs(value) < 10**18
        if not small:
            return "a huge number"
        return format_size(value) if unit is ValueType.SIZE else str(value)
    return format_size(round(value)) if unit is ValueType.SIZE and math.isfinite(value) else f"{value:.6g}"
