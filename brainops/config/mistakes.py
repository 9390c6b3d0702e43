"""Mistakes in the file: what pydantic found, in our own words, with the place and the remedy."""

import difflib
import re
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

from pydantic_core import ErrorDetails

from brainops.config.document import Document, Path
from brainops.config.environment import looks_secret
from brainops.config.quantities import format_duration
from brainops.config.schema import Schema, entry, json_schema, known_keys, resolved

_MOST_COMPARED = 300

NAME_RULE = "lower-case letters, digits, - and _, starting with a letter, at most 63"


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong in a file. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    field: str
    """Dotted, such as `services.web.checks.front.interval`; empty: the file as a whole."""
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}"
        return (
            f"{place} {self.field}: {self.message} — {self.remedy}"
            if self.field
            else f"{place}: {self.message} — {self.remedy}"
        )


@dataclass(frozen=True)
class Finding:
    """A mistake before its place is known. `at_key`: it is the key that is wrong, not its value."""

    path: Path
    message: str
    remedy: str
    at_key: bool = False


def dotted(path: Path) -> str:
    """`services.web.ports.0`."""
    return ".".join(printed(part) for part in path)


def printed(part: str | int) -> str:
    """A name for a message; what is no plain word is shortened and escaped."""
    text = str(part)
    return text if text.isascii() and text.isprintable() and len(text) <= 63 else reprlib.repr(text)


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be, among the first few hundred (comparing takes its time)."""
    matches = difflib.get_close_matches(str(word)[:100].lower(), islice(known, _MOST_COMPARED), n=1, cutoff=0.6)
    return matches[0] if matches else None


def one_of(known: Sequence[str]) -> str:
    """`a, b or c`."""
    return known[0] if len(known) == 1 else f"{', '.join(known[:-1])} or {known[-1]}"


def meant(word: object, known: Sequence[str]) -> str:
    """Remedy for a word that is not one of `known`: the nearest, and all that are allowed."""
    if not known:
        return "remove it"
    close = nearest(word, known)
    suggestion = f"did you mean {close}? " if close else ""
    return f"{suggestion}write {one_of(known)}"


def shown(value: object, path: Path) -> str:
    """The value for a message: short, and hidden where it may be a secret."""
    if hidden(path) or (isinstance(value, str) and "://" in value and "@" in value):
        return "the value"
    return reprlib.repr(value)


def hidden(path: Path) -> bool:
    """Whether what stands at `path` must not be shown: variables of a service, and keys that name secrets."""
    return "environment" in path[:-1] or any(isinstance(part, str) and looks_secret(part) for part in path)


def located(finding: Finding, document: Document, file: str) -> Mistake:
    """The finding with its place in the file."""
    where = document.key_position if finding.at_key else document.value_position
    position = where(finding.path)
    return Mistake(file, position.line, position.column, dotted(finding.path), finding.message, finding.remedy)


def translate(errors: Sequence[ErrorDetails]) -> list[Finding]:
    """pydantic's errors in our words. Those of the other member of a union are left out."""
    return [found for error in errors if (found := _translated(error)) is not None]


@dataclass(frozen=True)
class _Place:
    """A pydantic location, followed through the schema."""

    path: Path
    node: Schema
    """Schema of the innermost value that exists in the model."""
    parent: Schema
    is_key: bool = False
    other_member: bool = False
    """The location runs through a member of a union that the value does not belong to."""


def _place(error: ErrorDetails) -> _Place:
    node = parent = resolved(json_schema())
    path: list[str | int] = []
    is_key = other_member = False
    for step in error["loc"]:
        if step == "[key]":
            is_key = True
        elif "discriminator" in node and step in node["discriminator"]["mapping"]:
            node = resolved({"$ref": node["discriminator"]["mapping"][step]})
        elif "anyOf" in node:
            # autonomy: a level, or a mapping of levels. pydantic reports both members.
            wants_mapping = str(step).startswith("dict[")
            node = next(
                choice for choice in map(resolved, node["anyOf"]) if (choice.get("type") == "object") == wants_mapping
            )
            other_member = (error["type"] == "dict_type") if wants_mapping else isinstance(error["input"], dict)
        else:
            parent = node
            node = resolved(entry(node, step) or {})
            path.append(step)
    return _Place(tuple(path), node, parent, is_key, other_member)


def _translated(error: ErrorDetails) -> Finding | None:
    place = _place(error)
    if place.other_member:
        return None
    if place.is_key:
        return _wrong_key(error, place)
    words = _SENTENCES.get(error["type"])
    if words is not None:
        return words(error, place)
    return Finding(
        place.path, f"{shown(error['input'], place.path)} is not allowed: {_plain(error['msg'])}", _expected(place.node)
    )


def _plain(message: str) -> str:
    return message[:200].replace("Input should be", "it should be")


def _wrong_key(error: ErrorDetails, place: _Place) -> Finding:
    key = str(place.path[-1])
    allowed = _allowed_words(error)
    if allowed:
        return Finding(place.path, f"there is no {key[:63]!r} here", meant(key, allowed), at_key=True)
    return Finding(place.path, f"{reprlib.repr(key)} cannot be a name", f"use {NAME_RULE}", at_key=True)


def _unknown_key(_: ErrorDetails, place: _Place) -> Finding:
    key = str(place.path[-1])
    known = known_keys(place.parent)
    close = nearest(key, known)
    remedy = (
        f"did you mean {close}? known here: {', '.join(known)}"
        if close
        else f"remove it; known here: {', '.join(known)}"
    )
    return Finding(place.path, f"{reprlib.repr(key)} is not a known key", remedy, at_key=True)


def _missing(_: ErrorDetails, place: _Place) -> Finding:
    return Finding(place.path, "is missing", f"add {place.path[-1]}; {_expected(place.node)}")


def _word(error: ErrorDetails, place: _Place) -> Finding:
    allowed = _allowed_words(error)
    return Finding(place.path, f"{shown(error['input'], place.path)} is not allowed", meant(error["input"], allowed))


def _no_kind(_: ErrorDetails, place: _Place) -> Finding:
    return Finding(
        (*place.path, "kind"), "is missing", f"add kind: {one_of(tuple(place.node['discriminator']['mapping']))}"
    )


def _wrong_kind(error: ErrorDetails, place: _Place) -> Finding:
    kinds = tuple(place.node["discriminator"]["mapping"])
    kind = _context(error).get("tag", "")
    return Finding((*place.path, "kind"), f"{reprlib.repr(kind)} is not a kind of this", meant(kind, kinds))


def _not_text(error: ErrorDetails, place: _Place) -> Finding:
    value = error["input"]
    if isinstance(value, bool | int | float):
        what = "a truth value" if isinstance(value, bool) else "a number"
        return Finding(
            place.path, f"{shown(value, place.path)} is {what}, and a text is needed", "put it in double quotes"
        )
    return _wrong_shape(error, place)


def _wrong_shape(error: ErrorDetails, place: _Place) -> Finding:
    value = error["input"]
    given = "nothing" if value is None else _SHAPES.get(type(value).__name__, shown(value, place.path))
    return Finding(place.path, f"{given} stands here", _expected(place.node))


def _bound(error: ErrorDetails, place: _Place) -> Finding:
    context = _context(error)
    word, limit = next((word, context[key]) for key, word in _BOUNDS.items() if key in context)
    value = error["input"]
    if isinstance(value, timedelta):
        return Finding(place.path, f"{format_duration(value)} is out of bounds", f"write {word} {_duration(limit)}")
    return Finding(place.path, f"{shown(value, place.path)} is out of bounds", f"write {word} {limit}")


def _duration(limit: object) -> str:
    """A bound of a duration as people write it; pydantic gives it as words such as `20000 microseconds`."""
    parts = _DURATION_WORDS.findall(str(limit))
    return format_duration(sum((timedelta(**{f"{unit}s": int(count)}) for count, unit in parts), timedelta()))


def _too_short(_: ErrorDetails, place: _Place) -> Finding:
    return Finding(place.path, "is empty", _expected(place.node))


def _pattern(error: ErrorDetails, place: _Place) -> Finding:
    pattern = str(_context(error).get("pattern", ""))
    if pattern.startswith("^http"):
        remedy = "write an address such as http://127.0.0.1:8080/"
    else:
        remedy = _FORMS.get(str(place.path[-1]) if place.path else "", f"use {NAME_RULE}")
    return Finding(place.path, f"{shown(error['input'], place.path)} is not of the right form", remedy)


def _value_error(error: ErrorDetails, place: _Place) -> Finding:
    text = str(_context(error).get("error", error["msg"]))
    message, _, remedy = text.rpartition("; ")
    return Finding(place.path, message or text, remedy if message else _expected(place.node))


def _context(error: ErrorDetails) -> dict[str, Any]:
    """What pydantic tells beside its message. Any: it differs with the type of error."""
    return error.get("ctx", {})


def _allowed_words(error: ErrorDetails) -> tuple[str, ...]:
    if error["type"] not in ("enum", "literal_error"):
        return ()
    expected = str(_context(error).get("expected", ""))
    return tuple(word.strip(" '") for part in expected.split(", ") for word in part.split("' or '") if word.strip(" '"))


def _expected(node: Schema) -> str:
    """What may stand at `node`, as a remedy."""
    if "discriminator" in node:
        return f"write a mapping with kind: {one_of(tuple(node['discriminator']['mapping']))}"
    if "enum" in node:
        return f"write {one_of(tuple(node['enum']))}"
    if "properties" in node:
        return f"write a mapping with the keys {', '.join(node['properties'])}"
    kind = node.get("type")
    if kind == "array":
        return "write a list, such as [one, two]"
    if kind == "object":
        return "write a mapping of name: value"
    if "examples" in node:
        return f"write {one_of(tuple(node['examples']))}"
    return _REMEDIES.get(str(kind), "write another value")


_SHAPES = {"dict": "a mapping", "list": "a list"}
_REMEDIES = {
    "string": "write a text",
    "integer": "write a whole number",
    "number": "write a number",
    "boolean": "write true or false",
}
_FORMS = {
    "container": "write the name as `docker ps` lists it",
    "service": "write the name as it stands in the Compose file",
    "project": "write it as Compose does: lower-case letters, digits, - and _",
    "unit": "write the unit with its suffix, such as nginx.service",
    "use": "write the name of its entry point, as `brainops plugins` lists it",
}
"""Remedies for a text of the wrong form, by its key."""
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_DURATION_WORDS = re.compile(r"(\d+) (day|hour|minute|second|microsecond)s?")
_SENTENCES = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "enum": _word,
    "literal_error": _word,
    "union_tag_not_found": _no_kind,
    "union_tag_invalid": _wrong_kind,
    "string_type": _not_text,
    "model_type": _wrong_shape,
    "model_attributes_type": _wrong_shape,
    "dict_type": _wrong_shape,
    "tuple_type": _wrong_shape,
    "int_type": _wrong_shape,
    "float_type": _wrong_shape,
    "bool_type": _wrong_shape,
    "path_type": _wrong_shape,
    "greater_than_equal": _bound,
    "greater_than": _bound,
    "less_than_equal": _bound,
    "less_than": _bound,
    "too_short": _too_short,
    "string_too_short": _too_short,
    "string_pattern_mismatch": _pattern,
    "value_error": _value_error,
}
