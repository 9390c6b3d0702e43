"""Conditions: `[RESPONSE_TIME] < 300ms`. One small language for what the values of a probe must be.

    [STATUS] == any(200, 204)       [BODY].items[0].id > 3       len([BODY].items) >= 1
    [HEADER].content-type == pat(application/json*)               has([BODY].error) == false

On the left a value that the check's kind knows, with a path where it is JSON; on the right what is written in the
file. There is nothing to nest and nothing to run. Its manners are those of Gatus (https://github.com/TwiN/gatus).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, StringConstraints

from brainops.config.patterns import Expression, compiled
from brainops.config.quantities import parse_duration, parse_size

LONGEST_CONDITION = 1000
_MOST_STEPS = 20
_MOST_CHOICES = 50
_PARSED = 16_384

Operator = Literal["==", "!=", "<", "<=", ">", ">="]
Function = Literal["", "len", "has"]


class ValueType(StrEnum):
    """What a value is, and what may stand on the other side."""

    NUMBER = "number"
    DURATION = "duration"
    SIZE = "size"
    PERCENT = "percentage"
    TEXT = "text"
    TRUTH = "truth"
    NULL = "null"
    JSON = "json"
    """Anything, with a path into it. Only of values, never of what is written."""
    TEXTS = "texts"
    """Several texts: a list, or headers by name. Only of values."""


_ORDERED = frozenset({ValueType.NUMBER, ValueType.DURATION, ValueType.SIZE, ValueType.PERCENT})
_SUITABLE = {
    ValueType.NUMBER: "a number such as 200",
    ValueType.DURATION: "a duration such as 300ms or 14d",
    ValueType.SIZE: "a size such as 200MB",
    ValueType.PERCENT: "a percentage such as 90%",
    ValueType.TEXT: "a text such as ok",
}

CONDITION_VALUES: Mapping[str, Mapping[str, ValueType]] = {
    "http": {
        "STATUS": ValueType.NUMBER,
        "RESPONSE_TIME": ValueType.DURATION,
        "BODY": ValueType.JSON,
        "HEADER": ValueType.TEXTS,
        "CERTIFICATE_EXPIRATION": ValueType.DURATION,
        "REDIRECTS": ValueType.NUMBER,
    },
    "tcp": {"RESPONSE_TIME": ValueType.DURATION},
    "dns": {
        "ANSWERS": ValueType.TEXTS,
        "RCODE": ValueType.TEXT,
        "TTL": ValueType.DURATION,
        "RESPONSE_TIME": ValueType.DURATION,
    },
    "process": {
        "MEMORY": ValueType.SIZE,
        "FILES": ValueType.NUMBER,
        "THREADS": ValueType.NUMBER,
        "CHILDREN": ValueType.NUMBER,
        "CPU": ValueType.PERCENT,
        "AGE": ValueType.DURATION,
        "RESTARTS": ValueType.NUMBER,
    },
    "health": {"HEALTH": ValueType.TEXT},
    "postgres": {
        "RESULT": ValueType.JSON,
        "CONNECTIONS_USED": ValueType.PERCENT,
        "TRANSACTION_AGE": ValueType.DURATION,
        "LAG": ValueType.DURATION,
        "SIZE": ValueType.SIZE,
        "RESPONSE_TIME": ValueType.DURATION,
    },
    "command": {
        "EXIT_CODE": ValueType.NUMBER,
        "OUTPUT": ValueType.JSON,
        "RESPONSE_TIME": ValueType.DURATION,
    },
    "host": {
        "DISK_USED": ValueType.PERCENT,
        "DISK_FREE": ValueType.SIZE,
        "INODES_USED": ValueType.PERCENT,
        "MEMORY_USED": ValueType.PERCENT,
        "SWAP_USED": ValueType.PERCENT,
        "CPU_USED": ValueType.PERCENT,
        "LOAD": ValueType.NUMBER,
        "CLOCK_JUMP": ValueType.DURATION,
    },
    "log": {"MATCHES": ValueType.NUMBER, "NEW_KINDS": ValueType.NUMBER},
    "heartbeat": {"AGE": ValueType.DURATION},
}
"""The values of each kind of check. A kind that is not here has values of its own, which only it knows."""


@dataclass(frozen=True, slots=True)
class Written:
    """A value as it stands in the file."""

    type: ValueType
    text: str
    """Without quotes."""

    @property
    def number(self) -> float:
        """Its size in numbers, seconds, bytes or percent; nan for what has none."""
        return _magnitude(self.type, self.text)

    def __str__(self) -> str:
        plain = self.type is not ValueType.TEXT or _written_plainly(self.text)
        return self.text if plain else f'"{_ESCAPED.sub(_escape, self.text)}"'


@dataclass(frozen=True, slots=True)
class Glob:
    """`pat(…)`: `*` stands for any text, `?` for one character; nothing else has a meaning."""

    text: str

    @property
    def expression(self) -> Expression:
        """What finds it."""
        return _expression(self.text)

    def __str__(self) -> str:
        return f'pat("{_ESCAPED.sub(_escape, self.text)}")' if _awkward(self.text) else f"pat({self.text})"


@dataclass(frozen=True, slots=True)
class Choice:
    """`any(…)`: one of these."""

    options: tuple[Written, ...]

    def __str__(self) -> str:
        return f"any({', '.join(str(option) for option in self.options)})"


Wanted = Written | Glob | Choice


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. `str()` writes it so that `parse_condition` reads the same one."""

    name: str
    """Of the value: `STATUS`."""
    path: tuple[str | int, ...]
    """Into the value: `.items[0]` is `("items", 0)`."""
    function: Function
    operator: Operator
    wanted: Wanted

    @property
    def subject(self) -> str:
        """The left side: `len([BODY].items)`."""
        steps = "".join(_step(part) for part in self.path)
        value = f"[{self.name}]{steps}"
        return f"{self.function}({value})" if self.function else value

    def __str__(self) -> str:
        return f"{self.subject} {self.operator} {self.wanted}"


_VALUE = re.compile(r"(?:(len|has)[ \t]*\([ \t]*)?\[([A-Z][A-Z0-9_]{0,63})\]")
_KEY = re.compile(r"\.([^\s.\[\]()<>=!,\"']{1,100})")
_INDEX = re.compile(r"\[([0-9]{1,6})\]")
_QUOTED_KEY = re.compile(r"\[\"((?:[^\"\\]|\\[\"\\]){1,200})\"\]")
_CLOSING = re.compile(r"[ \t]*\)")
_OPERATOR = re.compile(r"[ \t]*(==|!=|<=|>=|<|>)[ \t]*")
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,9})?")
_PERCENTAGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)[ ]?%")
_STARTS_WITH_DIGIT = re.compile(r"[0-9]")
_DOUBLE_QUOTED = re.compile(r"\"((?:[^\"\\]|\\[\"\\])*)\"")
_SINGLE_QUOTED = re.compile(r"'([^']*)'")
_STARS = re.compile(r"\*{2,}")
_ESCAPED = re.compile(r"[\"\\]")
_UNESCAPED = re.compile(r"\\([\"\\])")
_AWKWARD = re.compile(r"[\[\]()<>=!,\"'&|\\]")
_CONSTANTS = {"true": ValueType.TRUTH, "false": ValueType.TRUTH, "null": ValueType.NULL}

_EXAMPLE = "write one such as [STATUS] == 200 or [BODY].status == ok"


@lru_cache(maxsize=_PARSED)
def parse_condition(text: str) -> Condition:
    """Read one condition. Raises ValueError with the remedy, and nothing else."""
    line = text.strip()
    _refuse_unreadable(line)
    opening = _VALUE.match(line)
    if opening is None:
        raise ValueError(f"{_shown(line)} does not begin with a value in brackets; {_EXAMPLE}")
    path, at = _path(line, opening.end())
    if opening[1]:
        closing = _CLOSING.match(line, at)
        if closing is None:
            raise ValueError(f"{opening[1]}( is not closed after {_shown(line[:at])}; write {line[:at][:60]}) == …")
        at = closing.end()
    operator = _OPERATOR.match(line, at)
    if operator is None:
        raise ValueError(
            f"after {_shown(line[:at])} there is no comparison but {_shown(line[at:].strip())}; "
            "write ==, !=, <, <=, > or >="
        )
    wanted = _wanted(line[operator.end() :])
    function: Function = "len" if opening[1] == "len" else "has" if opening[1] == "has" else ""
    compared: Operator = _OPERATORS[operator[1]]
    _refuse_senseless(function, compared, wanted)
    return Condition(opening[2], path, function, compared, wanted)


def known_values(kind: str) -> tuple[str, ...]:
    """The values that conditions of this kind of check may name. Empty: the kind has its own."""
    return tuple(CONDITION_VALUES.get(kind, {}))


def type_mistake(condition: Condition, kind: str) -> tuple[str, str] | None:
    """What is wrong with a condition over a known value of this kind of check, and the remedy; None if nothing is."""
    found = CONDITION_VALUES.get(kind, {}).get(condition.name)
    value = f"[{condition.name}]"
    if found is None:
        return None
    structured = found in (ValueType.JSON, ValueType.TEXTS)
    if not structured and (condition.path or condition.function):
        return f"{value} is {_SUITABLE[found].partition(' such')[0]} and has no parts", f"compare {value} itself"
    if condition.name == "HEADER" and not (len(condition.path) == 1 and isinstance(condition.path[0], str)):
        return "[HEADER] is followed by the name of one header", "write [HEADER].content-type"
    if structured or condition.function:
        return None
    types = {written.type for written in _all_written(condition.wanted)}
    if found is ValueType.TEXT and condition.operator in ("==", "!="):
        return None
    if types - {found} or isinstance(condition.wanted, Glob):
        return f"{value} cannot be compared with {str(condition.wanted)[:60]}", f"write {_SUITABLE[found]}"
    return None


def read_written(text: str) -> Written:
    """What an unquoted text is: a number, duration, size, percentage, truth, null, or else just text."""
    constant = _CONSTANTS.get(text)
    if constant is not None:
        return Written(constant, text)
    if _NUMBER.fullmatch(text):
        return Written(ValueType.NUMBER, text)
    if not _STARTS_WITH_DIGIT.match(text) or len(text) > 60:
        return Written(ValueType.TEXT, text)
    if _PERCENTAGE.fullmatch(text):
        return Written(ValueType.PERCENT, text)
    for kind, parse in ((ValueType.DURATION, parse_duration), (ValueType.SIZE, parse_size)):
        try:
            parse(text)
        except ValueError:
            continue
        return Written(kind, text)
    return Written(ValueType.TEXT, text)


def _path(line: str, at: int) -> tuple[tuple[str | int, ...], int]:
    steps: list[str | int] = []
    while at < len(line) and line[at] in ".[":
        if key := _KEY.match(line, at):
            steps.append(key[1])
        elif key := _INDEX.match(line, at):
            steps.append(int(key[1]))
        elif key := _QUOTED_KEY.match(line, at):
            steps.append(_UNESCAPED.sub(r"\1", key[1]))
        else:
            raise ValueError(
                f'{_shown(line[at:])} is no step of a path; write .name, [0] or ["a name with dots"] after the value'
            )
        if len(steps) > _MOST_STEPS:
            raise ValueError(f"the path has more than {_MOST_STEPS} steps; write a shorter one")
        at = key.end()
    return tuple(steps), at


def _wanted(text: str) -> Wanted:
    if text.startswith("any(") and text.endswith(")"):
        options = tuple(_written(part) for part in _split(text[4:-1]))
        if len(options) > _MOST_CHOICES:
            raise ValueError(f"any(…) has more than {_MOST_CHOICES} values; write fewer, or pat(…)")
        return Choice(options)
    if text.startswith("pat(") and text.endswith(")"):
        inner = text[4:-1].strip()
        glob = Glob(_unquoted(inner) if inner[:1] in ("'", '"') else inner)
        if not glob.text or (inner[:1] not in ("'", '"') and _awkward(inner)):
            raise ValueError(f"pat({inner[:60]}) is no pattern; write one such as pat(*ready*), in quotes if need be")
        _expression(glob.text)
        return glob
    return _written(text)


def _written(text: str) -> Written:
    text = text.strip()
    if not text:
        raise ValueError('the condition has nothing to compare with; write a value, or "" for an empty text')
    if text[0] in ("'", '"'):
        return Written(ValueType.TEXT, _unquoted(text))
    if _AWKWARD.search(text):
        raise ValueError(
            f'{_shown(text)} is not a plain value; write "…" around a text with signs in it, any(…) or pat(…)'
        )
    return read_written(text)


def _unquoted(text: str) -> str:
    if double := _DOUBLE_QUOTED.fullmatch(text):
        return _UNESCAPED.sub(r"\1", double[1])
    if single := _SINGLE_QUOTED.fullmatch(text):
        return single[1]
    raise ValueError(f'the quotes of {_shown(text)} do not match; write "…", with \\" for a quote inside')


def _split(text: str) -> list[str]:
    """The parts between commas outside of quotes."""
    parts, begun, at = list[str](), 0, 0
    while at < len(text):
        if text[at] in ("'", '"'):
            quoted = (_DOUBLE_QUOTED if text[at] == '"' else _SINGLE_QUOTED).match(text, at)
            at = quoted.end() if quoted else len(text)
            continue
        if text[at] == ",":
            parts.append(text[begun:at])
            begun = at + 1
        at += 1
    return [*parts, text[begun:]]


def _refuse_unreadable(line: str) -> None:
    if len(line) > LONGEST_CONDITION:
        raise ValueError(f"the condition is longer than {LONGEST_CONDITION} characters; write a shorter one")
    if any(not sign.isprintable() for sign in line):
        raise ValueError("the condition has signs that cannot be printed; write it on one line")


def _refuse_senseless(function: Function, operator: Operator, wanted: Wanted) -> None:
    types = {written.type for written in _all_written(wanted)}
    if operator not in ("==", "!=") and (not isinstance(wanted, Written) or wanted.type not in _ORDERED):
        raise ValueError(f"{operator} cannot compare with {str(wanted)[:60]}; write a number, or use == or !=")
    if function == "has" and not (isinstance(wanted, Written) and wanted.type is ValueType.TRUTH):
        raise ValueError("has(…) is true or false; write has(…) == true or has(…) == false")
    if function == "len" and types != {ValueType.NUMBER}:
        raise ValueError(f"len(…) is a number and not {str(wanted)[:60]}; write len(…) >= 1")


def _all_written(wanted: Wanted) -> Sequence[Written]:
    if isinstance(wanted, Choice):
        return wanted.options
    return (wanted,) if isinstance(wanted, Written) else ()


@lru_cache(maxsize=_PARSED)
def _magnitude(kind: ValueType, text: str) -> float:
    if kind is ValueType.NUMBER:
        return float(text)
    if kind is ValueType.PERCENT:
        return float(text.rstrip("% "))
    if kind is ValueType.DURATION:
        return parse_duration(text).total_seconds()
    if kind is ValueType.SIZE:
        return float(parse_size(text))
    return float("nan")


def _expression(glob: str) -> Expression:
    signs = {"*": ".*", "?": "."}
    return compiled(f"(?s)^{''.join(signs.get(sign) or re.escape(sign) for sign in _STARS.sub('*', glob))}$")


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _KEY.fullmatch(f".{part}") else f'["{_ESCAPED.sub(_escape, part)}"]'


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


def _awkward(text: str) -> bool:
    return not text or text != text.strip() or _AWKWARD.search(text) is not None


def _written_plainly(text: str) -> bool:
    return not _awkward(text) and read_written(text).type is ValueType.TEXT


def _shown(text: str) -> str:
    return repr(text[:80])


_OPERATORS: Mapping[str, Operator] = {"==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def _valid(text: str) -> str:
    parse_condition(text)
    return text


ConditionText = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_CONDITION), AfterValidator(_valid)]
"""One condition, as it stands in the file."""
