"""What is kept of a listing, a search, a file, a command's output, a JSON text.

Each rule answers what the next reader asks: what was it, how much, what went wrong, how did it end. Bounded in what
it gives back and linear in what it reads.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from brainops.telemetry.templates import is_error_like, template

_MOST_NAMES = 10
_MOST_GROUPS = 8
_NAME_LENGTH = 120

_HEAD = 900
_TAIL = 600
_REPORT_HEAD = 4_000
_REPORT_TAIL = 2_000

_LINE_LENGTH = 300
_MOST_ERRORS = 30
_ERROR_ROOM = 1_200
_LAST_LINES = 12
_LAST_ROOM = 800
_MOST_LINES_READ = 50_000

_SHAPE_ROOM = 1_200
_SHAPE_DEPTH = 4
_SHAPE_KEYS = 20
_MOST_JSON = 5_000_000

LEFT_OUT = "left out; the whole is in the artifact"
"""How each reduced text says that it is one."""


@dataclass(frozen=True)
class Call:
    """A tool call with its result."""

    tool: str
    arguments: Mapping[str, JsonValue]
    text: str

    @property
    def command(self) -> str:
        """The command line, where the tool runs one; an argument list is joined."""
        given = self.arguments.get("command") or self.arguments.get("cmd") or ""
        if isinstance(given, list):
            return " ".join(str(word) for word in given)
        return given if isinstance(given, str) else ""

    @property
    def subject(self) -> str:
        """What the call was about: its path, pattern or address."""
        names = ("file_path", "path", "pattern", "query", "url", "directory", "dir", "notebook_path", "glob")
        found = [value for name in names if isinstance(value := self.arguments.get(name), str) and value]
        return _short(" ".join(found[:2]) or self.command, 200)


Reducer = Callable[[Call], str]


# Listings

_LONG_ENTRY = re.compile(r"[-dlbcps][-rwxsStT]{9}[.+@]?\s")


def reduce_listing(call: Call) -> str:
    """Its count, how many of which kind and where, and the first names."""
    names = [name for line in call.text.splitlines()[:_MOST_LINES_READ] if (name := _entry(line))]
    kinds = Counter(_kind_of(name) for name in names)
    folders = Counter(name.lstrip("./").split("/", 1)[0] + "/" for name in names if "/" in name.strip("./"))
    parts = [f"[listing{_about(call)}: {len(names)} entries; {LEFT_OUT}]", f"kinds: {_counted(kinds)}"]
    if len(folders) > 1:
        parts.append(f"folders: {_counted(folders)}")
    parts.append("first: " + ", ".join(_short(name, _NAME_LENGTH) for name in names[:_MOST_NAMES]))
    return "\n".join(parts)


def _entry(line: str) -> str:
    """The name in a line of a listing: the last column of a long one, a line of its own in a plain one."""
    text = line.strip(" \t│├└─-*")
    if not text or re.fullmatch(r"total \d+\S*|\(.*\)|.*:", text):
        return ""
    if _LONG_ENTRY.match(line.strip()):
        return line.split(" -> ", maxsplit=1)[0].rsplit(maxsplit=1)[-1]
    return text.split("\t")[-1]


def _kind_of(name: str) -> str:
    last = name.rstrip("/").rsplit("/", 1)[-1]
    if name.endswith("/"):
        return "folder"
    stem, dot, extension = last.rpartition(".")
    return f".{extension}" if dot and stem and len(extension) <= 10 and " " not in extension else "no extension"


# Searches

_HIT = re.compile(r"(?P<path>[^\s:][^:\n]{0,300}?):(?:(?P<line>\d+)[:-])?")


def reduce_search(call: Call) -> str:
    """How many hits in which files, and the first of them."""
    lines = [line for line in call.text.splitlines()[:_MOST_LINES_READ] if line.strip()]
    files: Counter[str] = Counter()
    for line in lines:
        hit = _HIT.match(line)
        files[hit["path"] if hit else _short(line.strip(), _NAME_LENGTH)] += 1
    head = f"[search{_about(call)}: {len(lines)} lines, {len(files)} files; {LEFT_OUT}]"
    first = [_short(line, 160) for line in lines[: _MOST_NAMES - 4]]
    return "\n".join([head, f"files: {_counted(files)}", *first])


# Files and other text


def reduce_file(call: Call) -> str:
    """Its head and its tail, cut at line ends."""
    return _head_and_tail(call, _HEAD, _TAIL)


def reduce_report(call: Call) -> str:
    """As a file, with more room."""
    return _head_and_tail(call, _REPORT_HEAD, _REPORT_TAIL)


def _head_and_tail(call: Call, head_room: int, tail_room: int) -> str:
    text = call.text
    head = text[:head_room]
    if "\n" in head[head_room // 2 :]:
        head = head[: head.rindex("\n")]
    tail = text[-tail_room:]
    if "\n" in tail[: tail_room // 2]:
        tail = tail[tail.index("\n") + 1 :]
    gap = text[len(head) : len(text) - len(tail)]
    lines = gap.count("\n")
    return f"{head}\n[… {lines} lines, {len(gap)} characters{_about(call)} {LEFT_OUT} …]\n{tail}"


# Commands

_TROUBLE = re.compile(
    r"""\b(?:warn(?:ing)?|fail(?:ed|ure|ures|s)?|error|errors|denied|refused|rejected|aborted|conflict|undefined|unresolved
        |not\sfound|no\ssuch|cannot|can't|could\snot|missing|deprecated|killed|timed\sout|timeout|violat\w+)\b
    |^E\s{2,}|✗|✘|^not\sok\b|^FAIL\b|^---\sFAIL|\bERR!|\berror\sTS\d+|^\s*>\s\d+\s\||\bexit(?:ed)?\s(?:code|status|with)""",
    re.VERBOSE | re.IGNORECASE,
)
_NO_TROUBLE = re.compile(
    r"\b(?:0|no)\s(?:errors?|warnings?|failures?|failed|problems?)\b(?!.*\b[1-9]\d*\s(?:err|warn|fail))", re.IGNORECASE
)
_SUMMARY = re.compile(
    r"""\b\d+\s(?:passed|failed|errors?|skipped|tests?|examples?|passing|failing|warnings?)\b|^test\sresult:|^Tests?:|^Test\sSuites:
    |^BUILD\s|^Ran\s\d+|^Found\s\d+|\bexit(?:ed)?\s(?:code|status|with)\b|^ok\s|^Finished\b|^Summary\b|^Total\b|^Done\b""",
    re.VERBOSE | re.IGNORECASE,
)


def reduce_command(call: Call) -> str:
    """The command, the lines that look like trouble with their numbers, the summary, and the last lines."""
    lines = call.text.splitlines()
    read = lines[-_MOST_LINES_READ:]
    offset = len(lines) - len(read)
    last_from = _last_from(read)
    parts = [f"$ {_short(call.command, 400)}"] if call.command else [_short(lines[0], _LINE_LENGTH)]
    parts.append(f"[{len(lines)} lines, {len(call.text)} characters of output; {LEFT_OUT}]")
    parts += _section("trouble", _trouble(read[:last_from], offset))
    summary = [line.strip() for line in read[:last_from] if _SUMMARY.search(line[:_LINE_LENGTH])]
    if summary and not any(_SUMMARY.search(line[:_LINE_LENGTH]) for line in read[last_from:]):
        parts.append(f"summary: {_short(summary[-1], _LINE_LENGTH)}")
    parts += _section("last lines", [_short(line, _LINE_LENGTH) for line in read[last_from:]])
    return "\n".join(parts)


def _last_from(lines: Sequence[str]) -> int:
    """Index of the first of the last lines that fit."""
    room = _LAST_ROOM
    index = len(lines)
    while index > 0 and len(lines) - index < _LAST_LINES:
        room -= min(len(lines[index - 1]), _LINE_LENGTH) + 1
        if room < 0 and index < len(lines):
            break
        index -= 1
    return index


def _trouble(lines: Sequence[str], offset: int) -> list[str]:
    """The lines that look like errors, warnings or failed tests; those that differ in numbers only, once."""
    found: dict[str, tuple[int, str]] = {}
    times: Counter[str] = Counter()
    for number, line in enumerate(lines, start=offset + 1):
        start = line[:_LINE_LENGTH]
        if not (_TROUBLE.search(start) or is_error_like(start)) or _NO_TROUBLE.search(start):
            continue
        key = template(start) if len(found) <= _MOST_ERRORS else start
        times[key] += 1
        if len(found) <= _MOST_ERRORS:
            found.setdefault(key, (number, start.strip()))
    shown: list[str] = []
    room = _ERROR_ROOM
    for key, (number, line) in found.items():
        text = f"{number}: {line}" + (f" ({times[key]} times)" if times[key] > 1 else "")
        room -= len(text)
        if len(shown) == _MOST_ERRORS or room < 0:
            break
        shown.append(text)
    hidden = times.total() - sum(times[key] for key in list(found)[: len(shown)])
    return [*shown, f"… {hidden} more"] if hidden else shown


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}:", *lines] if lines else []


# JSON


def json_shape(text: str) -> str | None:
    """What a JSON object or array looks like: keys, types, lengths, short values. None when `text` is no such."""
    stripped = text.strip()
    if len(stripped) > _MOST_JSON or stripped[:1] + stripped[-1:] not in ("{}", "[]"):
        return None
    try:
        value: JsonValue = json.loads(stripped)
    except (ValueError, RecursionError):
        return None
    return f"[JSON of {len(text)} characters, its shape; {LEFT_OUT}]\n{_short(_shape(value, 0), _SHAPE_ROOM)}"


def _shape(value: JsonValue, depth: int) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if len(value) <= 60 else f"text of {len(value)}"
    if not isinstance(value, list | dict):
        return json.dumps(value)
    if depth == _SHAPE_DEPTH:
        return f"{len(value)} {'items' if isinstance(value, list) else 'keys'}"
    if isinstance(value, list):
        return f"[{len(value)} of {_shape(value[0], depth + 1)}]" if value else "[]"
    entries = [f"{_short(key, 60)}: {_shape(item, depth + 1)}" for key, item in list(value.items())[:_SHAPE_KEYS]]
    more = [f"… {len(value) - _SHAPE_KEYS} more keys"] if len(value) > _SHAPE_KEYS else []
    return "{" + ", ".join([*entries, *more]) + "}"


def _about(call: Call) -> str:
    return f" of {call.subject}" if call.subject else ""


def _counted(counter: Counter[str]) -> str:
    most = counter.most_common(_MOST_GROUPS)
    rest = len(counter) - len(most)
    return ", ".join([*(f"{count} {_short(name, 80)}" for name, count in most), *([f"{rest} others"] if rest else [])])


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
