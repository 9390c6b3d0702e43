"""The terms by which text is found, and the chunks in which long text is indexed.

A term is a stemmed word, a number, or an identifier. An identifier is kept whole and also split into its words
(`max_slot_wal_keep_size` is found by "slot size", and by itself), because people ask for it in both ways. English stop
words are left out; words of other languages stay as they are written. Stems are Snowball's (Porter 2).

Linear in the text. Stems of a process's last 65,536 words are remembered.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

MAX_TERMS = 1_000
"""Terms counted in one chunk; what follows is not found by its words. A chunk of normal text has at most 400."""

MAX_TERM_LENGTH = 64
"""Characters of a term; a longer one (base64, a minified line) is cut there, so that equal beginnings still meet."""

MAX_CHUNK = 2_400
"""Characters of a chunk: about 400 words, some pages of a chat. A mean of more words' vectors says little."""

OVERLAP = 200
"""Characters that a chunk repeats of the one before it, so that a sentence at the border is whole in one of them."""

MAX_CHUNKS = 200
"""Chunks of one text (about 440,000 characters); a longer text is kept whole elsewhere and found by its beginning."""

_LISTED = """
    a about above after again against all am an and any are as at be because been before being below between
    both but by can cannot could did do does doing don down during each few for from further had has have having
    he her here hers herself him himself his how i if in into is isn it its itself just let me more most my
    myself no nor not of off on once only or other ought our ours ourselves out over own same shall she should
    so some such than that the their theirs them themselves then there these they this those through to too
    under until up very was we were what when where which while who whom why will with would you your yours
    yourself yourselves s t d ll m re ve aren couldn didn doesn hadn hasn haven mustn needn shan shouldn wasn
    weren won wouldn
"""
_STOP_WORDS = frozenset(_LISTED.split())
"""Snowball's English list, and what is left of its contractions when they are split at the apostrophe."""

_RUN = re.compile(r"[^\W_]+(?:[_./:@#$+-]+[^\W_]+)*", re.UNICODE)
"""A word, or words joined by what joins them in identifiers, paths, ticket numbers, versions and addresses."""

_PART = re.compile(r"[^\W_]+", re.UNICODE)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z]{2})(?=[0-9])")
"""Where `camelCase`, `HTTPServer` and `utf8` part."""

_QUESTION = re.compile(r"\?[\s\"')\]*_]*(?:\[[^\]\n]{0,400}\]\s*)?\Z")
"""A question mark at the end, or before one bracketed note (an attachment) at the end."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a text: `text[start:end]` of what was given."""

    start: int
    end: int
    text: str


def terms(text: str) -> list[str]:
    """The terms of `text` in their order, at most `MAX_TERMS`; none for blank text.

    Any string will do: NUL and lone surrogates are passed over, width and compatibility forms are made one (NFKC).
    """
    found: list[str] = []
    for term in _terms(text):
        found.append(term)
        if len(found) >= MAX_TERMS:
            break
    return found


def counted(text: str) -> dict[str, int]:
    """The terms of `text` and how often each is there."""
    return dict(Counter(terms(text)))


def stem(word: str) -> str:
    """The stem of one lower-case word; a number is its own."""
    return _stem(word)


def is_stop_word(word: str) -> bool:
    """Whether a lower-case word says too little to be searched for."""
    return word in _STOP_WORDS


def asks(text: str) -> bool:
    """Whether a message ends in a question; what follows it is then likely its answer."""
    return _QUESTION.search(text[-500:]) is not None


def chunks(text: str) -> list[Chunk]:
    """`text` in overlapping pieces of at most `MAX_CHUNK` characters, cut at a line, a sentence or a word if one is near.

    One chunk for a typical message, none for a blank text, at most `MAX_CHUNKS`.
    """
    pieces: list[Chunk] = []
    start = 0
    while start < len(text) and len(pieces) < MAX_CHUNKS:
        end = _cut(text, start)
        if text[start:end].strip():
            pieces.append(Chunk(start, end, text[start:end]))
        if end >= len(text):
            break
        start = max(end - OVERLAP, start + 1)
    return pieces


def _cut(text: str, start: int) -> int:
    """Where the chunk that begins at `start` ends: in its last third if there is a good place."""
    end = start + MAX_CHUNK
    if end >= len(text):
        return len(text)
    earliest = start + MAX_CHUNK * 2 // 3
    for border in ("\n\n", "\n", ". ", " "):
        at = text.rfind(border, earliest, end)
        if at >= 0:
            return at + len(border)
    return end


def _terms(text: str) -> Iterator[str]:
    text = _clean(text)
    for match in _RUN.finditer(text):
        run = match.group()
        parts = _PART.findall(run)
        if len(parts) > 1:
            yield run.lower()[:MAX_TERM_LENGTH]
        for part in parts:
            humps = _HUMP.split(part) if not part.islower() or not part.isalpha() else [part]
            if len(humps) > 1:
                yield part.lower()[:MAX_TERM_LENGTH]
            for hump in humps:
                word = hump.lower()
                if word not in _STOP_WORDS:
                    yield _stem(word[:MAX_TERM_LENGTH])


def _clean(text: str) -> str:
    """Encodable, in one form, without NUL; apostrophes part words, so that `user's` is found by `user`."""
    if text.isascii():
        return text.replace("\0", " ")
    encodable = text.encode("utf-8", "replace").decode("utf-8")
    return unicodedata.normalize("NFKC", encodable).replace("\0", " ")


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    return _stemmer().stemWord(word)


class _Stemmer(Protocol):
    """What is used of the stemmer's package, which has no types."""

    def stemWord(self, word: str) -> str: ...  # noqa: N802 - its name


@lru_cache(maxsize=1)
def _stemmer() -> _Stemmer:
    from Stemmer import Stemmer  # noqa: PLC0415 # pyright: ignore[reportUnknownVariableType] - idle processes do without

    return cast("_Stemmer", Stemmer("english"))
