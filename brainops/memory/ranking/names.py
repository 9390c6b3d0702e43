"""Which names a text calls: the exact half of recall, for memories that carry a name and aliases.

Similarity brings back what is near, and much is near; a name is called or it is not. A name is called when all of its
words stand together in the text, in either order, with nothing but stop words between them. A word of the text is a
word of the name when

1. it is the same, letters' case and accents aside;
2. it is an inflection of it (`exceptions`, `exception`; `caching`, `cached`, `cache`), but no derivation: `except` and
   `expressive` are other words than `exceptions` and `express`;
3. it is one edit away from it (a letter more, less, another, or two exchanged), with the first two letters the same and
   four letters or more, and is no word in its own right: `reach` is not a misspelt `react`;
4. or both are written together in one and apart in the other (`data base`, `dead-letter`, `deadletter`).

Linear in the text and in the names. Pure.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from rapidfuzz.distance import OSA

from brainops.memory.ranking.words import is_stop_word

MAX_WORDS: Final = 2_000
"""Words of a text that are read; a prompt longer than that is named by its beginning."""

_WORD = re.compile(r"[^\W_]+")
_FUZZY_FROM = 4
_FIXED = 2
_JOINED_FROM = 5

_EXACT, _INFLECTED, _MISSPELT = 1.0, 0.9, 0.6
"""What a word counts that matches in the first, the second and fourth, and the third way; only their order matters."""


@dataclass(frozen=True)
class Called:
    """How a text calls a name."""

    name: str
    words: int
    """Words of the name, stop words aside; more of them say more."""
    closeness: float
    """1 when each is written as in the name."""

    @property
    def strength(self) -> float:
        """To order several: the words of the name, each by its closeness."""
        return self.words * self.closeness


class Text:
    """A text made ready to be asked for names.

    `is_word` tells whether a lower-case word is a common one, and so no misspelt name; None: no word is known.
    """

    def __init__(self, text: str, is_word: Callable[[str], bool] | None = None) -> None:
        every = split(text, MAX_WORDS)
        self._words = [word for word in every if not is_stop_word(word)]
        self._every = every
        self._is_word = is_word
        self._joined = {"".join(every[start : start + size]) for size in (1, 2, 3) for start in range(len(every))}
        self._places: dict[str, set[int]] = {}
        self._beginnings: dict[str, set[str]] = {}
        for place, word in enumerate(self._words):
            for base in bases(word):
                self._places.setdefault(base, set()).add(place)
            if len(word) >= _FUZZY_FROM:
                self._beginnings.setdefault(word[:_FIXED], set()).add(word)

    def calls(self, name: str) -> Called | None:
        """How this text calls `name`, or None. A name without a letter or digit is never called."""
        wanted = _split_name(name)
        if not wanted:
            return None
        if all(is_stop_word(word) for word in wanted):
            return self._calls_plainly(name, wanted)
        wanted = tuple(word for word in wanted if not is_stop_word(word))
        found = [self._found(word) for word in wanted]
        closeness = _together(found) if all(found) else None
        if closeness is None and self._calls_joined(wanted):
            closeness = _INFLECTED
        return None if closeness is None else Called(name, len(wanted), closeness)

    def best(self, names: Iterable[str]) -> Called | None:
        """The strongest call of any of `names`."""
        called = (self.calls(name) for name in names)
        return max((call for call in called if call), key=lambda call: call.strength, default=None)

    def _found(self, word: str) -> Mapping[int, float]:
        """The places of `word`, and how close each is."""
        same: dict[int, float] = {}
        for base in bases(word):
            for place in self._places.get(base, ()):
                same[place] = _EXACT if self._words[place] == word else _INFLECTED
        if same or len(word) < _FUZZY_FROM:
            return same
        misspelt = {other for other in self._beginnings.get(word[:_FIXED], ()) if self._is_misspelt(other, word)}
        return {place: _MISSPELT for place, other in enumerate(self._words) if other in misspelt}

    def _is_misspelt(self, other: str, word: str) -> bool:
        if OSA.distance(other, word, score_cutoff=1) > 1:
            return False
        return self._is_word is None or not self._is_word(other)

    def _calls_joined(self, wanted: tuple[str, ...]) -> bool:
        together = "".join(wanted)
        return len(together) >= _JOINED_FROM and together in self._joined

    def _calls_plainly(self, name: str, wanted: tuple[str, ...]) -> Called | None:
        """A name of stop words alone, such as `IT`, counts as it is written and in its order."""
        size = len(wanted)
        there = any(tuple(self._every[start : start + size]) == wanted for start in range(len(self._every)))
        return Called(name, size, _EXACT) if there and size > 1 else None


def split(text: str, most: int = MAX_WORDS) -> list[str]:
    """The words of a text or a name in lower case without accents, parted by all that is neither letter nor digit."""
    plain = unicodedata.normalize("NFKD", text[: most * 40].encode("utf-8", "replace").decode("utf-8"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return [match.group().lower() for match, _ in zip(_WORD.finditer(plain), range(most), strict=False)]


@lru_cache(maxsize=16_384)
def _split_name(name: str) -> tuple[str, ...]:
    return tuple(split(name, 12))


@lru_cache(maxsize=65_536)
def bases(word: str) -> frozenset[str]:
    """What `word` may be an inflection of, itself among it; two words are forms of one if they share one of these.

    English plurals, past and -ing forms. Too many bases do no harm: `redi` is the base of no other word.
    """
    found = {word}
    if len(word) > 3 and word.isascii() and word.isalpha():
        if word.endswith("ies"):
            found.add(word[:-3] + "y")
        if word.endswith("s") and not word.endswith(("ss", "us", "is")):
            found.add(word[:-1])
        if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
            found.add(word[:-2])
        for ending in ("ing", "ed"):
            rest = word.removesuffix(ending)
            if rest != word and len(rest) >= 3:
                found |= {rest, rest + "e"}
                if rest[-1] == rest[-2]:
                    found.add(rest[:-1])
        if word.endswith("ied"):
            found.add(word[:-3] + "y")
    return frozenset(found)


def _together(found: list[Mapping[int, float]]) -> float | None:
    """The mean closeness of the best run of places that has one of each word and nothing else; None without one."""
    size = len(found)
    best: float | None = None
    for start in sorted(place for places in found for place in places):
        run = range(start, start + size)
        closeness = _assigned(found, run)
        if closeness is not None and (best is None or closeness > best):
            best = closeness
    return best


def _assigned(found: list[Mapping[int, float]], run: range) -> float | None:
    """Give each word of the name its own place of `run`, the words with the fewest first."""
    free = set(run)
    total = 0.0
    for places in sorted(found, key=lambda places: sum(place in places for place in run)):
        own = max((place for place in free if place in places), key=lambda place: places[place], default=None)
        if own is None:
            return None
        free.discard(own)
        total += places[own]
    return total / len(found)
