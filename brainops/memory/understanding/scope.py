"""Which of several projects, customers or machines a statement is about.

Most sessions have one subject. Some leave it for a while ("different repo: …", "… now", "back to …") or begin with two.
Only names that are set against each other in such a way become scopes; everything else belongs to the session's own.
"""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache

from brainops.memory.understanding.model import Statement
from brainops.memory.understanding.words import STOP, content, specific, stem, tokens, word_set

_NAME = r"(?P<name>[A-Za-z][\w./-]{1,40}(?: [A-Z][\w./-]{1,30}){0,2})"
_KIND = r"(?:repo(?:sitory)?|project|customer|client|account|service|app|tool|team|site|tenant|cluster|product|company|job|topic|codebase|environment|region|shop|store|plant|machine|host|school|clinic|bank|hospital)"
_TURNS = (
    re.compile(
        r"\b(?:the|an) other (?:[a-z]+ ){0,2}[a-z]+, (?P<name>(?-i:[A-Z])[\w./-]{1,40}(?: (?-i:[A-Z])[\w./-]{1,30}){0,2})",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\b(?:different|other|another|second) (?:\w+ )?{_KIND}\b[:,]? (?:called |named |the )?{_NAME}", re.IGNORECASE
    ),
    re.compile(
        rf"\b(?:back|over|return(?:ing)?|on|switch(?:ing)?|jump(?:ing)?|moving) (?:to|in|with) (?:the )?{_NAME}(?=$|[.,:;!?)]| (?:now|again|please|then|for)\b)",
        re.IGNORECASE,
    ),
    re.compile(
        rf"^(?:ok |okay |so |and |now |right, |hi, )?(?:the )?{_NAME} (?:again|now|next|first|today)\b(?=$|[.,:;!?)])",
        re.IGNORECASE,
    ),
    re.compile(rf"^(?:ok |okay |so |and )?now (?:for |to |on to )?(?:the )?{_NAME}(?=$|[.,:;!?)])", re.IGNORECASE),
    re.compile(
        r"^(?:by the way|btw|unrelated|off topic|side note|separate(?:ly)?|different (?:topic|thing|matter)|something else|apart from that|aside)[,:]? (?:(?:for|in|on|about|at) )?(?:the )?(?P<name>[A-Z][\w./-]{1,40}(?: [A-Z][\w./-]{1,30}){0,2}|[a-z]+-[a-z-]+)(?= (?:wants?|needs?|has|have|is|are|asks?|asked|will|would|gets?|says?|said|must|should|can|repo|project|account)\b|[:,])",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\b(?:in|on|for|over in|of) the {_NAME} (?:repo(?:sitory)?|project|codebase|account|tenant)\b", re.IGNORECASE
    ),
    re.compile(
        rf"^\((?:for |on |in )?(?:the )?{_NAME}(?:, (?:for later|later|by the way|btw|note))?[,:]", re.IGNORECASE
    ),
    re.compile(
        rf"\b(?:quick|short|small|little) (?:detour|question|note|thing|aside)\b[^:.]{{0,30}}[:,] (?:(?:about|for|on|in) )?(?:the )?{_NAME}",
        re.IGNORECASE,
    ),
    re.compile(
        rf"^(?:for|in|on|about|with|at) (?:the )?{_NAME} (?:it's|it is|they|we|the)\b.{{0,30}}\b(?:other way round|opposite|different|reverse)",
        re.IGNORECASE,
    ),
)
_ASIDE = re.compile(
    r"^\(|^(?:by the way|btw|unrelated|off topic|side note|aside|for later|separate(?:ly)?|something else)\b",
    re.IGNORECASE,
)
_RETURNS = re.compile(
    r"^(?:ok(?:ay)?[, ]+|so[, ]+|and[, ]+|now[, ]+)*(?:anyway|back to (?:it|this|work|our|the)\b|where were we|back\b)",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"(?P<one>[A-Z][\w-]{2,30}(?: [A-Z][\w-]{2,30}){0,2})(?: \([^)]{1,60}\))? (?:and|vs\.?|versus|or) (?P<two>[A-Z][\w-]{2,30}(?: [A-Z][\w-]{2,30}){0,2})"
)
_SET_APART = re.compile(
    r"\b(?:don't mix|do not mix|not mix|separate(?:ly)?|apart|two|both|one after the other|different|each)\b",
    re.IGNORECASE,
)
_NOT_NAMES = STOP | word_set(
    """
    ok okay yes no next first today tomorrow work topic one two step part thing bad good new nothing something everything test tests blue green
    production staging main master normal same question
    """
)


@dataclass
class Scopes:
    """The scopes of a project as far as they are known: name, and the stems by which it alone is spoken of."""

    names: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    asides: set[str] = field(default_factory=set[str])
    """Those that a session only digressed to."""

    @classmethod
    def known(cls, names: Iterable[str], base: Set[str] = frozenset()) -> "Scopes":
        """`base`: stems of the project's own words, by which no scope is told."""
        scopes = cls()
        for name in names:
            scopes.find(name, base)
        return scopes

    def find(self, name: str, heard: Set[str] = frozenset()) -> str:
        """The scope of that name, a new one where it has none; stems already `heard` before do not tell it."""
        stems = _stems(name)
        for known, words in self.names.items():
            if stems == words or (stems < words and stems) or stems > words:
                return known
        marks = stems - heard or stems
        if not marks:
            return ""
        for known, words in self.names.items():
            self.names[known] = words - marks or words
        self.names[name] = marks - frozenset().union(*self.names.values()) or marks
        return name

    def named_in(self, text: str) -> list[str]:
        """The scopes that a text speaks of."""
        words = content(text) | {stem(token.lower()) for token in tokens(text)}
        return [name for name, marks in self.names.items() if marks & words]


def _stems(name: str) -> frozenset[str]:
    return frozenset(
        stem(part.lower()) for part in re.findall(r"[A-Za-z0-9]+", name) if len(part) > 2 and part.lower() not in STOP
    )


def turns_to(sentence: str, scopes: Scopes, heard: Set[str]) -> str:
    """The scope that a user's sentence turns to, or an empty text. `heard`: the stems of the talk so far."""
    for place, pattern in enumerate(_TURNS):
        match = pattern.search(sentence)
        if match is None:
            continue
        name = match.group("name").strip(".,:;/-")
        if name.lower() in _NOT_NAMES or not _stems(name):
            continue
        known = next((scope for scope, marks in scopes.names.items() if _stems(name) & marks), "")
        if known:
            return known
        if place in _OPENING or scopes.names:
            found = scopes.find(name, heard)
            if place in _OPENING and found == name:
                scopes.asides.add(name)
            return found
    return ""


def scopes_of(statements: Sequence[Statement]) -> Scopes:
    """The scopes that statements were given, told by words that the others do not use."""
    base = frozenset(word for statement in statements if not statement.scope for word in content(statement.text))
    scopes = Scopes.known(dict.fromkeys(statement.scope for statement in statements if statement.scope), base)
    scopes.asides.update(statement.scope for statement in statements if statement.aside)
    return scopes


_OPENING = (0, 1, 5, 6, 7)
"""The turns that need no earlier one: "different repo: …", "(shop, for later: …"."""


def pair(message: str) -> Sequence[str]:
    """Two names that a message sets apart: "both mills, kept apart: Northern Mill and Southern Mill"."""
    if not _SET_APART.search(message):
        return ()
    match = _PAIR.search(message)
    return (match.group("one"), match.group("two")) if match else ()


def is_aside(sentence: str) -> bool:
    """Whether it is said in passing: what follows the message belongs to the earlier subject again."""
    return bool(_ASIDE.match(sentence))


def returns(sentence: str) -> bool:
    """Whether it comes back to the session's own subject without naming it."""
    return bool(_RETURNS.match(sentence))


@lru_cache(maxsize=1_000)
def own_names(opening: str) -> frozenset[str]:
    """The names with which a session opens: those of its own subject."""
    return frozenset(name for name in specific(opening) if not name[0].isdigit()) | frozenset(
        token.lower() for token in tokens(opening)[:3] if "-" in token
    )
