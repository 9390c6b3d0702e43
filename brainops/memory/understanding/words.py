"""Words, names and figures of a sentence."""

import re
from functools import cache, lru_cache
from typing import Protocol, cast


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for lists that are read rather than counted."""
    return frozenset(text.split())


STOP = word_set(
    """
    a about above after again all alone also always am among an and another any anybody anyone anything are as at away back be because been
    before behind being below between both but by came can cannot come could did do does doing done down each either else enough even ever every
    few for from further get gets getting give go goes going gone got had has have having he her here hers him himself his how i if in instead
    into is it its itself just keep keeps kept know last later least less let like long lot made make makes many may me mean means might mine
    more most much must my myself near need needs neither never new next no nobody none nor not nothing now of off often ok okay on once one
    ones only onto or other others otherwise our ours out over own per perhaps please put quite rather really right said same say says see seem
    seems seen shall she should show since so some somebody someone something soon still such sure take takes than thank thanks that the their
    theirs them themselves then there these they thing things think this those though through till to today together too took toward two under
    until up upon us use used uses using very via want wants was way we well went were what whatever when where whether which while who whole
    whom whose why will with within without would yes yet you your yours yourself i'm i'd i'll i've it's that's there's they're they'd they'll
    we're we'd we've we'll you're you'd you've you'll don't doesn't didn't isn't aren't wasn't weren't can't couldn't won't wouldn't shouldn't
    hasn't haven't hadn't he's she's let's what's who's
    """
)

_WORD = re.compile(r"[^\W_](?:[\w'\u2019]|[-./:@](?=\w)){0,80}|_\w{1,80}|\|\|")
_PARTS = re.compile(r"[^\W_]{2,}")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NUMBER = re.compile(r"(?<![\w.])v?\d{1,15}(?:[.,:]\d{1,6}){0,4}(?![\w])")
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
        ]
    )
} | {"twenty": "20", "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "hundred": "100", "half": "0.5"}


class _Stems(Protocol):
    def stemWord(self, word: str) -> str: ...  # noqa: N802


@cache
def _stemmer() -> _Stems:
    from Stemmer import Stemmer  # noqa: PLC0415 # pyright: ignore[reportUnknownVariableType] - idle processes do without

    return cast("_Stems", Stemmer("english"))


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The stem of one word in lower case."""
    return _stemmer().stemWord(word)


def tokens(text: str) -> list[str]:
    """Words as they stand, identifiers and versions whole."""
    return [found.rstrip(".:'\u2019") for found in _WORD.findall(text)]


@lru_cache(maxsize=20_000)
def content(text: str) -> frozenset[str]:
    """The stems of the words that carry meaning; of an identifier also its parts."""
    found: set[str] = set()
    for token in tokens(text):
        low = token.lower().replace("\u2019", "'")
        if low in STOP:
            continue
        low = low.removesuffix("'s")
        if low.isdigit() or len(low) > 1:
            found.add(number(low) if low[0].isdigit() else stem(low))
        if not token.isalpha():
            found.update(stem(part.lower()) for part in _parts(token) if part.lower() not in STOP)
    return frozenset(found)


def _parts(token: str) -> list[str]:
    return [
        piece
        for part in _PARTS.findall(token)
        for piece in _CAMEL.split(part)
        if len(piece) > 1 and not piece.isdigit()
    ]


def number(text: str) -> str:
    """A figure without the commas that group its digits: `3,000` is `3000`."""
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)


@lru_cache(maxsize=20_000)
def numbers(text: str) -> frozenset[str]:
    """The figures of a sentence, also those written as words from two on."""
    found = {number(match.group()) for match in _NUMBER.finditer(text)}
    found.update(
        _NUMBER_WORDS[low] for token in tokens(text) if (low := token.lower()) in _NUMBER_WORDS and low != "one"
    )
    return frozenset(found)


@lru_cache(maxsize=20_000)
def specific(text: str) -> frozenset[str]:
    """What is particular to a sentence: figures, identifiers, names inside the sentence, quoted code; in lower case."""
    found = set(numbers(text))
    words = tokens(text)
    for place, token in enumerate(words):
        low = token.lower()
        inner = token[1:]
        if any(character.isdigit() or character in "_./:@" for character in token) or (
            inner != inner.lower() and len(token) > 1
        ):
            found.add(number(low))
        elif "-" in token or (
            place and token[0].isupper() and len(token) > 2 and low not in STOP and low not in _CALENDAR
        ):
            found.add(low)
    found.update(match.lower() for match in re.findall(r"`([^`\n]{1,80})`", text))
    return frozenset(found)


_CALENDAR = word_set(
    """
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september october november
    december
    """
)


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """What share of the smaller set is in the other."""
    smaller = min(len(one), len(other))
    return len(one & other) / smaller if smaller else 0.0
