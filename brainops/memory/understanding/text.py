"""Prose as sentences.

Chat is not edited prose: people begin sentences in lower case, put file names and versions before a full stop, and
answer in bullets. A full stop ends a sentence where white space follows it, unless it belongs to an abbreviation, an
initial, or stands inside code, quotes or brackets.
"""

import re

from brainops.memory.understanding.words import word_set

_BULLET = re.compile(r"[ \t]*(?:[-*+•\u2013]|\d{1,3}[.)]|\[[ xX]\])[ \t]+(?:\[[ xX]\][ \t]+)?")
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]+")
_QUOTE_MARK = re.compile(r"[ \t]*>[ \t]?")
_FENCE = re.compile(r"[ \t]*(?:```|~~~)")

# The repetitions are bounded, so that an unclosed mark costs no more than its bound.
_KEPT_WHOLE = re.compile(r"`[^`\n]{1,300}`|\"[^\"\n]{1,300}\"|“[^”\n]{1,300}”|\([^()\n]{1,200}\)|https?://\S{1,500}")
_ENDING = re.compile(r"(?:[.!?…]|(?<=\w):(?=[ \t]*$))[.!?…]{0,5}[\"'”\u2019)\]*_`]{0,3}(?=\s|$)")
_LAST_WORD = re.compile(r"(\S{1,40})$")

_NEVER_LAST = word_set(
    """
    e.g i.e cf vs mr mrs ms dr prof st mt approx ca incl excl resp viz fig eq sec ch dept est ext tel gen capt sgt jan feb apr jun jul aug sept
    oct nov dec
    """
)
"""Abbreviations that something follows. `sec` and the months are words too; a capital after them ends the sentence."""

_ALSO_WORDS = frozenset(
    ["sec", "jan", "feb", "apr", "jun", "jul", "aug", "sept", "oct", "nov", "dec", "gen", "est", "ext", "ch"]
)
_SELDOM_LAST = frozenset(
    ["etc", "a.m", "p.m", "al", "min", "max", "avg", "inc", "ltd", "co", "corp", "jr", "sr", "u.s", "u.k"]
)
"""Abbreviations that may end a sentence: then a capital follows."""

_BEFORE_NUMBER = frozenset(["no", "nr", "nos", "p", "pp", "vol", "art", "par"])

_WRAPPED = 60
"""A line of at least this length without an ending that goes on in lower case was wrapped by an editor."""


def sentences(text: str) -> list[str]:
    """The sentences of `text`, in order, white space at their ends taken off, none of them empty.

    A bullet, a heading and a line of a chat are at least one sentence each, without their mark. A fenced block of code
    is one piece, with its lines. Linear in the text.
    """
    found: list[str] = []
    for paragraph in paragraphs(text):
        if _FENCE.match(paragraph):
            found.append(paragraph)
        else:
            found.extend(_split(paragraph))
    return found


def paragraphs(text: str) -> list[str]:
    """The lines of `text` that stand for themselves: wrapped lines joined, marks of bullets taken off, fences whole."""
    found: list[str] = []
    fence: list[str] | None = None
    goes_on = False
    for written in text.splitlines():
        line = written
        if fence is not None:
            fence.append(line)
            if _FENCE.match(line):
                found.append("\n".join(fence))
                fence = None
            continue
        if _FENCE.match(line):
            fence, goes_on = [line], False
            continue
        line = _QUOTE_MARK.sub("", line, count=1)
        bullet = _BULLET.match(line) or _HEADING.match(line)
        stripped = (line[bullet.end() :] if bullet else line).strip()
        if not stripped:
            goes_on = False
            continue
        if goes_on and not bullet and stripped[0].islower():
            found[-1] = f"{found[-1]} {stripped}"
        else:
            found.append(stripped)
        goes_on = len(line) >= _WRAPPED and stripped[-1] not in ".!?…:;"
    if fence is not None:
        found.append("\n".join(fence))
    return found


def _split(paragraph: str) -> list[str]:
    kept = [(match.start(), match.end()) for match in _KEPT_WHOLE.finditer(paragraph)]
    found: list[str] = []
    begin = span = 0
    for match in _ENDING.finditer(paragraph):
        while span < len(kept) and kept[span][1] <= match.start():
            span += 1
        inside = span < len(kept) and kept[span][0] < match.start() and match.end() < kept[span][1]
        if inside or not _ends(paragraph, match, begin):
            continue
        found.append(paragraph[begin : match.end()].strip())
        begin = match.end()
    found.append(paragraph[begin:].strip())
    return [sentence for sentence in found if sentence]


def _ends(paragraph: str, ending: re.Match[str], begin: int) -> bool:
    """Whether the mark ends a sentence, by the word before it and the character after it."""
    after = paragraph[ending.end() : ending.end() + 40].lstrip()
    if not after:
        return True
    marks = ending.group()
    if marks.startswith(("...", "…")):
        return not after[0].islower()
    if marks[0] != ".":
        return True
    before = _LAST_WORD.search(paragraph[max(begin, ending.start() - 40) : ending.start()])
    if before is None:
        return False
    word = before.group(1).lstrip("([\"'“\u2018*_")
    if len(word) == 1 and word.isupper() and word != "I":
        # `J. Smith`, but `plan B. Then`.
        earlier = paragraph[begin : ending.start() - len(word)].rstrip().rsplit(" ", 1)[-1]
        return bool(earlier) and earlier[0].islower()
    return _ends_after(word.lower(), after)


def _ends_after(known: str, after: str) -> bool:
    """Whether a full stop after that word, in lower case, ends the sentence before `after`."""
    if known in _BEFORE_NUMBER:
        return not after[0].isdigit()
    if known in _SELDOM_LAST:
        return not (after[0].islower() or after[0].isdigit())
    if known in _NEVER_LAST:
        return known in _ALSO_WORDS and after[0].isupper()
    return True
