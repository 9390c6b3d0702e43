"""Figures of a sentence by unit, and what they are figures of."""

import re

from brainops.memory.understanding.reversal import topic
from brainops.memory.understanding.words import STOP, content, number, numbers, stem

_UNIT = re.compile(
    r"(?<![\w.])(?P<n>v?\d{1,15}(?:[.,:]\d{1,6}){0,4}|half|one|two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|sixty) ?(?:a |an |of a )?(?P<u>%|€|\$|£|[a-zA-Zµ]{1,12}(?:/[a-z]{1,6})?)?",
    re.IGNORECASE,
)
_UNITS = {
    "percent": "%", "per": "%", "min": "minute", "mins": "minute", "minutes": "minute", "s": "second", "sec": "second", "seconds": "second", "secs": "second", "h": "hour", "hours": "hour", "hrs": "hour",
    "eur": "eur", "euro": "eur", "euros": "eur", "€": "eur", "usd": "usd", "dollars": "usd", "dollar": "usd", "$": "usd", "days": "day", "weeks": "week", "months": "month", "years": "year", "requests": "request", "calls": "call",
    "gb": "gib", "gib": "gib", "mb": "mib", "mib": "mib", "kb": "kib", "kib": "kib", "tb": "tib", "\u00d7": "times", "x": "times",
}  # fmt: skip
UNIT_STEMS = frozenset(stem(unit) for unit in (*_UNITS, *_UNITS.values()))
_DATE = re.compile(
    r"\b(\d{1,2})(?:st|nd|rd|th)?(?: of)? (jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* (\d{1,2})\b|\b\d{4}-(\d\d)-(\d\d)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\b\d{1,2}:\d\d\b")
_RELEASE = re.compile(
    r"\bv?\d+\.\d+(?:\.\d+)*\b(?! ?(?:%|[a-z]{1,3}\b|percent|times|seconds|minutes|hours|euro))", re.IGNORECASE
)
_CLAUSE = re.compile(r"[,;:.!?—]\s|\band\b|\bbut\b")


def figures_of(text: str) -> dict[str, set[str]]:
    """The figures of a text by unit; dates, hours and releases are units of their own."""
    found: dict[str, set[str]] = {}

    def take(unit: str, match: re.Match[str]) -> str:
        found.setdefault(unit, set()).add(match.group().lower())
        return " "

    text = _DATE.sub(lambda match: take("date", match), text)
    text = _CLOCK.sub(lambda match: take("clock", match), text)
    text = _RELEASE.sub(lambda match: take("release", match), text)
    for match in _UNIT.finditer(text):
        unit = (match.group("u") or "").lower()
        unit = _UNITS.get(unit) or ("" if unit in STOP else stem(unit))
        value = match.group("n").lower()
        value = next(iter(numbers(value)), value) if value.isalpha() else number(value)
        found.setdefault(unit, set()).add(value)
    return found


def about(text: str, unit: str) -> frozenset[str]:
    """What the figures of that unit are of: the words of their clauses, of the sentence where those have none."""
    words: frozenset[str] = frozenset()
    clauses = _CLAUSE.split(text)
    for place, clause in enumerate(clauses):
        if unit in figures_of(clause):
            own = topic(content(clause)) - {unit}
            words |= own or (topic(content(clauses[place - 1])) - {unit} if place else frozenset[str]())
    return (words or topic(content(text)) - {unit}) - UNIT_STEMS
