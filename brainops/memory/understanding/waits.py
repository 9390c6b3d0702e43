"""Who or what a piece of work waits for, and whether that has come."""

import re
from collections.abc import Set

from brainops.memory.understanding.words import STOP, content, numbers, stem, tokens

_CLAUSE = r"(?P<x>[^,;:.!?—()]{2,90})"
_WAITS = (
    re.compile(r"(?:\b(?:is|are|lies|lie|still)|['\u2019]s) with (?P<x>(?-i:[A-Z])[^,;:.!?—()]{1,40})", re.IGNORECASE),
    re.compile(rf"\b(?:until|till|as long as) {_CLAUSE}", re.IGNORECASE),
    re.compile(rf"\b(?:wait(?:s|ed|ing)?|hold(?:s|ing)? (?:off|back)?|on hold|blocked|held up|pending|depends|depending|stuck) ?(?:for|on|by|until|till|behind)? {_CLAUSE}", re.IGNORECASE),
    re.compile(r"\b(?:until|till|before|unless|once|as soon as|not without|after) (?P<x>[^,;:.!?—()]{2,60}? (?:has|have|is|are|had|was|were|says?|sends?|answers?|signs?|approves?|decides?|comes?|arrives?|agrees?|gives?|confirms?|delivers?|replies)\b[^,;:.!?—()]{0,40})", re.IGNORECASE),
    re.compile(rf"\b(?:hold(?:s|ing)?|held|park(?:s|ed|ing)) (?!off|back)[^,;:.!?—()]{{1,40}}? for (?=(?:the|an?|his|her|their|its|my|our|your)\b|\w+['\u2019]s\b){_CLAUSE}", re.IGNORECASE),
    re.compile(r"\b(?:comes?|coming|follows?|expected|arrives?|due) from (?P<x>[^,;:.!?—()]{2,40}?) (?:at|by|in|on|next|this|tomorrow|later|soon|within|after|before|around|any)\b", re.IGNORECASE),
    re.compile(rf"\b(?:i'll ask|i asked|i've asked|asked|asking|ask|no (?:answer|reply|word) (?:yet )?from) (?![^,;:.!?]*\b(?:before|first|whenever|when)\b){_CLAUSE}", re.IGNORECASE),
    re.compile(r"\b(?:missing|lacks?|lacking|outstanding)\b[^.;!?]{0,40}?\b(?P<x>(?-i:[A-Z])\w{1,30}) (?:has|writes|makes|draws|sends|brings|prepares|does) (?:it|that|them)\b", re.IGNORECASE),
    re.compile(r"(?P<x>[^,;:.!?—()]{2,60}?) (?:is|are) (?:still |yet )?(?:missing|outstanding|not (?:here|there|in) yet)\b", re.IGNORECASE),
    re.compile(r"\b(?P<x>open: [^;!?—]{2,80})", re.IGNORECASE),
)  # fmt: skip
_PRONOUN = re.compile(r"(?:him|her|them)\b", re.IGNORECASE)
_OWES = re.compile(
    r"(?P<x>[^,;:.!?—()]{2,60}) (?:has to|have to|needs? to|must|still has to|is to|will|hasn't|haven't|has not|have not|is (?:collecting|checking|asking|preparing|looking)) (?:yet )?(?:say|answer(?:ed)?|decided?|sign(?:ed)?|approved?|sen[dt]|confirm(?:ed)?|delivere?d?|repl(?:y|ied)|order(?:ed)?|add|give[n]?|come|who|what|which|for)\b",
    re.IGNORECASE,
)
_OWING = re.compile(
    r"\b(?:to|must|will|hasn't|haven't|not|collecting|checking|asking|preparing|looking) (?:yet )?(?:say|answer|decide|sign|approve|sen[dt]|confirm|deliver|repl|order|add|give|come|who|what|which|for)",
    re.IGNORECASE,
)
"""The middle of `_OWES`, which is dear to look for from every place."""
_COMES = re.compile(
    r"(?P<x>[^,;:!?—()]{2,70}?)(?:'s)? (?:(?:has|have|had|is|are|was|were) )?(?:just |finally |now |already |all |both |also |yesterday |today )*"
    r"(?:sent|signed|approved|answered|replied|said|says|delivered|arrived|came|come|confirmed|finished|decided|agreed|granted|allowed|fixed|released|uploaded|returned|here|back|over|done|there|behind (?:us|me)|in place|out|through|ready|lifted|available|repaired|restored|mounted|replaced|published|landed|resolved|cleaned|received|dropped|translated|reviewed|solved|closed|on(?=\s*(?:[.,;:!?]|$|now\b|and\b|again\b|since\b))|gave|given|handed|"
    r"cleared|merged|installed|paid|wrote|written|ordered|found|switched|added|unblocked|passed|complete[d]?|provided|brought|got)\b",
    re.IGNORECASE,
)
_NOT_YET = re.compile(
    r"\b(?:not|no|n't|hasn't|haven't|isn't|until|till|before|when|once|if|unless|as soon as|after|will|waits?|waiting)\b",
    re.IGNORECASE,
)
_GENERIC = frozenset(
    stem(word)
    for word in [
        "answer",
        "reply",
        "word",
        "sign",
        "date",
        "number",
        "new",
        "day",
        "today",
        "tomorrow",
        "yesterday",
        "thing",
        "work",
        "part",
        "test",
        "file",
        "list",
        "side",
        "open",
        "wait",
        "yes",
    ]
)
_CUT = re.compile(
    r"(?:[,;:—]\s*(?:(?:so|and|but|please|then)\s+)*(?:hands off|(?:leave|don't|do not|hold|no|nothing|nobody|never|stop)\b[^,;:.!?—]{0,40}?)\s*(?=\b(?:until|till)\b))?"
    r"[,;:—]?\s*\(?(?:\b(?:and|but|so|which|that's|because|since|it)\b[ ,]*)*(?:\b(?:that's|it's|is|are|was|were|stays?|remains?)\b )?(?:\b(?:frozen|on hold|blocked|parked|skipped|open|closed|stopped|paused|left open|not before|only)\b )?"
    r"\b(?:waits?|waiting|wait|until|till|as soon as|once|before)\b[^.;!?—]*",
    re.IGNORECASE,
)


_ONLY_UNTIL = re.compile(
    r"^(?:(?:so|and|but|please|then|ok|also)[, ]+)*(?:don't|do not|no\b|nothing|never|hold|wait|leave|keep|nobody|stop|build nothing|open:|i'll ask|i asked|asked|ask)\b",
    re.IGNORECASE,
)


_IS_OUT = re.compile(
    r"\b(?:is|are|stays?|remains?) (?:switched )?(?:off|out|down|closed|shut|locked|frozen|blocked|muted|skipped|paused|disabled|suspended|broken|read-only) (?:until|till|as long as)\b",
    re.IGNORECASE,
)
_AGAIN = re.compile(
    r"(?P<x>[^,;:.!?—()]{2,60}?) (?:works|sends|runs|answers|responds|reports|is (?:up|back|online|running|working)|are (?:up|back|online|running|working))(?: again| now| fine)?\b",
    re.IGNORECASE,
)
_BROKEN = re.compile(
    r"\b(?:broken|down|off|dead|fails|failed|missing|out of order|unreachable|offline|swaps?|repairs?)\b", re.IGNORECASE
)


def recovered(text: str) -> frozenset[str]:
    """The stems of what the text says works again."""
    return frozenset(
        word for match in _AGAIN.finditer(text) for word in _named(match.group("x")) | numbers(match.group("x"))
    )


def is_repaired(text: str, well: Set[str]) -> bool:
    """Whether `text` tells that something was broken which is among what works again."""
    return bool(_BROKEN.search(text)) and len((content(text) | numbers(text)) & well) >= min(2, len(well))


def awaited(text: str) -> frozenset[str]:
    """The stems of what the text waits for; empty if it waits for nothing."""
    found: set[str] = set()
    for pattern in (*_WAITS, _OWES) if _OWING.search(text) else _WAITS:
        for match in pattern.finditer(text):
            named = match.group("x")
            found |= _named(text if _PRONOUN.match(named) else named)
    return frozenset(found)


_IS_ASKED = re.compile(
    r"^\W*(?:is|are|has|have|did|does|was|were)\b|\b(?:what|which|who|whom|how|where|why|whether)\b", re.IGNORECASE
)


def come(text: str) -> frozenset[str]:
    """The stems of those of whom the text says that they are here, have answered, are done; empty if of none."""
    found: set[str] = set()
    for match in _COMES.finditer(text):
        if not _NOT_YET.search(match.group()) and not _IS_ASKED.search(match.group("x")):
            found |= _named(match.group("x")) | _named(text[match.end() : match.end() + 40].split(".", maxsplit=1)[0])
    return frozenset(found)


_ENDED = re.compile(
    r"(?P<x>[^,;:.!?—()]{2,60}?)(?:'s| (?:is|are|has|have|was|were))(?: (?:now|finally|been|just|all|both))* (?:over|lifted|ended|through|finished|gone|past|cancelled|called off|out of the way|behind (?:us|me|you))\b",
    re.IGNORECASE,
)


def ended(text: str) -> frozenset[str]:
    """The stems of what the text says is over: a freeze, a campaign, an audit."""
    return frozenset(word for match in _ENDED.finditer(text) for word in _named(match.group("x")))


def _named(clause: str) -> frozenset[str]:
    words = [token.lower() for token in tokens(clause) if token.lower() not in STOP]
    return (content(clause) & {stem(word.removesuffix("'s")) for word in words}) - _GENERIC


def is_over(text: str, arrived: Set[str]) -> bool:
    """Whether what `text` waits for is among those that have come."""
    low = text.lower()
    return any(word in low for word in arrived) and bool(awaited(text) & arrived)


_ONCE_THERE = re.compile(r"^(?:(?:so|and|but|then)[, ]+)?(?:once|as soon as|after|when)\b", re.IGNORECASE)
_WITHOUT = re.compile(
    rf"\b(?:no|not|nothing|nobody|never|don't|won't|can't)\b[^,;:.!?—()]{{0,60}}? (?:without|before) {_CLAUSE}",
    re.IGNORECASE,
)


def hangs_on(text: str, brought: Set[str], *, answers: bool) -> bool:
    """Whether all that `text` waits for was brought: the thing that the one who came had to bring.

    "Nothing without it" waits only where it `answers` that the thing is still to come; elsewhere it is a rule.
    """
    things = awaited(text)
    if answers:
        things |= {word for match in _WITHOUT.finditer(text) for word in _named(match.group("x"))}
    return bool(things) and things <= brought


_BACK = re.compile(
    r"^(?:[^,;:.!?—]{0,30}, )?(?P<x>[^,;:.!?—()]{2,40}?) (?:is|are|works?|runs?|goes|sells?|opens?|sends?) (?!not\b|never\b)[^,;:.!?—()]{0,24}?\bagain\b",
    re.IGNORECASE,
)
_SHUT = re.compile(
    r"\b(?:locked|closed|frozen|off|paused|muted|blocked|stopped|disabled|suspended|down|held|out of (?:order|service))\b|\b(?:until|till|as long as)\b",
    re.IGNORECASE,
)
_REGULAR = re.compile(r"\b(?:always|never|every|each|at night)\b|\b\w+days\b|\b\d{1,2}:\d\d\b", re.IGNORECASE)


def back_again(text: str) -> frozenset[str]:
    """The words that name what is open, on sale or at work again; empty if nothing is said to be."""
    found = _BACK.search(text)
    if found is None or _NOT_YET.search(found.group()) or not _named(found.group("x")):
        return frozenset()
    return _plain(found.group("x"))


def was_shut(text: str, back: Set[str]) -> bool:
    """Whether `text` tells that it was locked or stopped, or was so until something happens."""
    return bool(_SHUT.search(text)) and not _REGULAR.search(text) and back <= _plain(text)


def _plain(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in tokens(text)) - STOP


def without_wait(text: str) -> str:
    """The sentence without the clause that says what it waits for; empty if nothing is left that stands alone.

    "Once it is there, do this" stays as it is: now is the time.
    """
    if _ONCE_THERE.match(text):
        return text
    if _ONLY_UNTIL.search(text) or _IS_OUT.search(text):
        return ""
    rest = _CUT.sub("", text).strip(" ,;:—")
    return rest if len(content(rest)) >= 2 and rest != text.strip(" ,;:—") else ""
