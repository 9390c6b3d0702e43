"""Statements as the talk that they were: messages, exchanges, and which earlier exchange a later one takes up.

A person who changes course speaks of one thing that was said before, as a rule without naming it in the same words. So
later words are not held against every earlier sentence that shares a word with them, but against the exchange that they
are most like, by words that are rare in this talk.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import log

from brainops.memory.understanding.figures import figures_of
from brainops.memory.understanding.model import Act, Speaker, Statement
from brainops.memory.understanding.reversal import disowned, topic
from brainops.memory.understanding.waits import come, ended
from brainops.memory.understanding.words import content, specific

_TURNS = re.compile(
    r"^(?:(?:ah|oh|hm+|ok|and|so)[,. ]+)*(?:no|nope|nvm|veto|stop|wait|oops|sorry|argh|correction|scrap|forget|rather|back to)\b(?! idea)"
    r"|\b(?:says? no|not (?:acceptable|it\b)|any ?more|instead|rather than|no longer(?! than)|from now(?: on)?|changed?|mistake|turn(?:s|ed) out|"
    r"let's say|make (?:it|that)|after all|never (?:was|approved)|veto|correct(?:ed|ion)|supersed\w+|replaced?s?|moved? to|switch\w*|lowered|raised|reduced|"
    r"increased|throw|rolled back|reverted|extended|postponed|(?:was|were) wrong|(?:so|then) (?:it's|it is)|only half|"
    r"(?:is|are) (?:out|off|gone|dead)\b|not .{2,25} but)",
    re.IGNORECASE,
)
"""How English announces that something is to be otherwise from here on."""

_FAILS = re.compile(
    r"\b(?:complain\w*|angry|unhappy|hates?|wrong|too \w+|broke|broken|breaks?|crash\w*|fail\w*|can't|cannot|can not|won't|"
    r"doesn't (?:work|help|fit|scale|do)|didn't|(?:isn't|aren't|not) enough|runs? out|out of memory|problem|lost|loses?|slow|worse|corrupt\w*|error|dies|died|"
    r"hangs?|killed|misses|missing|refuse[sd]?|leak\w*|still)\b",
    re.IGNORECASE,
)
"""How it tells that something does not do."""

_DAY = re.compile(r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|\d{1,2}(?:st|nd|rd|th))\b", re.IGNORECASE)
_SLOT = re.compile(
    r"(?P<name>[A-Za-z][\w./-]*)(?:(?: (?:is|are|of|at|=|as|from|remains|stays|becomes|about|now|than|below|above|under|over|\w+ed to|to|set to))? |[ =:]+)"
    r"v?(?P<value>\d[\d.,:]*)",
    re.IGNORECASE,
)
_SEAM = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_./-]")
_LONG_NAME = 8
"""A name of so many letters tells the thing as a whole; of a shorter one its last part does: `minSdk`, "the sdk"."""

_BEGINNING = 6
"""So many letters of a longer word are compared: "collate", "collation"."""

_MOST = 8.0
"""More weight than this of shared words tells no more."""

_TAKEN_UP = (1.0, 0.6)
"""How surely a later exchange speaks of the earlier one that is most like it, and of the next."""

_TEXTS = 4_096
"""Texts of which it is known what they say: the same ones are looked at for every prompt, and a look costs some 3 ms."""

_SLACK = 3.0
"""Added to the weight of an exchange, so that one of two words is not matched by each of them."""


def begin(words: Iterable[str]) -> frozenset[str]:
    """Words by their beginnings."""
    return frozenset(word[:_BEGINNING] if len(word) > _BEGINNING and word.isalpha() else word for word in words)


def subject(text: str) -> frozenset[str]:
    """The beginnings of the words that tell what a text is about."""
    return begin(topic(content(text)))


@lru_cache(maxsize=_TEXTS)
def values(text: str) -> Mapping[str, Set[str]]:
    """The figures of a text by unit, by the name before them (`@threshold`), and days by name or number."""
    found = {unit: set(figures) for unit, figures in figures_of(text).items()}
    for match in _DAY.finditer(text):
        found.setdefault("day of", set()).add(match.group().lower())
    for match in _SLOT.finditer(text):
        name = match.group("name").rstrip(".:-/")
        parts = topic(content(name if len(name) >= _LONG_NAME else "")) | topic(content(_SEAM.split(name)[-1].lower()))
        for part in parts:
            found.setdefault(f"@{part}", set()).add(match.group("value").strip(".,:"))
    return found


@lru_cache(maxsize=_TEXTS)
def arrived(text: str) -> frozenset[str]:
    """What a text says has come or is over."""
    return come(text) | ended(text)


@lru_cache(maxsize=_TEXTS)
def taken_back(text: str) -> tuple[frozenset[str], ...]:
    """The beginnings of the words of each thing that a text takes back."""
    return tuple(begin(one.words) for one in disowned(text))


@dataclass
class Message:
    """What was said at once, as far as it is kept."""

    order: int
    statements: list[Statement]
    text: str = ""
    words: frozenset[str] = frozenset()
    around: frozenset[str] = frozenset()
    """Its words, and those of what it speaks of without naming it."""
    values: Mapping[str, Set[str]] = field(default_factory=dict[str, set[str]])
    particular: frozenset[str] = frozenset()
    disowned: tuple[frozenset[str], ...] = ()
    turns: bool = False
    fails: bool = False

    @property
    def first(self) -> Statement:
        return self.statements[0]

    @property
    def by_user(self) -> bool:
        return self.first.speaker is Speaker.USER

    @cached_property
    def arrived(self) -> frozenset[str]:
        """What it says has come or is over."""
        return arrived(self.text)

    def read(self) -> None:
        self.text = " ".join(statement.text for statement in self.statements)
        self.words = self.around = begin(content(self.text))
        self.values = values(self.text)
        self.particular = specific(self.text)
        self.disowned = tuple(words for said in self.statements for words in taken_back(said.text))
        self.turns = any(_TURNS.search(statement.text) for statement in self.statements)
        self.fails = _FAILS.search(self.text) is not None


@dataclass
class Exchange:
    """A message with the answers and the yes to it, and how surely a later exchange turns against it."""

    messages: list[Message]
    words: frozenset[str] = frozenset()
    turned: float = 0.0
    turned_by_user: float = 0.0
    settles: float = 0.0
    """How surely it is itself the one that turns against an earlier one."""

    @property
    def turns(self) -> bool:
        return any(message.turns for message in self.messages)

    @property
    def fails(self) -> bool:
        return any(message.fails for message in self.messages)


class Talk:
    """The statements of a project by message and exchange, in the order said, with the weight of each word."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self.messages: list[Message] = []
        self.by_source: dict[str, Message] = {}
        for statement in statements:
            message = self.by_source.get(statement.source)
            if message is None:
                message = self.by_source[statement.source] = Message(len(self.messages), [])
                self.messages.append(message)
            message.statements.append(statement)
        for message in self.messages:
            message.read()
        self.spread = Counter(word for message in self.messages for word in message.words)
        self.exchanges: dict[str, Exchange] = {}
        """By the source of each message."""
        self._answer_each_other()
        self._group()

    @cached_property
    def heeded(self) -> float:
        """What share of the user's messages is answered at all: where few are, silence says little."""
        asked = [message for message in self.messages if message.by_user]
        answered = {source for message in self.messages if not message.by_user for source in message.first.replies_to}
        return sum(message.first.source in answered for message in asked) / len(asked) if asked else 0.0

    def weight(self, words: Iterable[str]) -> float:
        """How much the words tell, the rarer in this talk the more."""
        return sum(log((len(self.messages) + 2) / (self.spread[word] + 0.5)) for word in words)

    def share(self, words: Set[str], of: Set[str]) -> float:
        """How much of what `of` is about is in `words`, from 0 to 1."""
        return self.weight(words & of) / (min(self.weight(of), _MOST) + 1.0) if words & of else 0.0

    def replied(self, statement: Statement) -> list[Message]:
        """The messages that a statement answers."""
        return [self.by_source[source] for source in statement.replies_to if source in self.by_source]

    def _answer_each_other(self) -> None:
        """Let a change of course reach: from the user's words to the answer, and from a bare "no" to what it answers."""
        for message in self.messages:
            for earlier in self.replied(message.first):
                if not message.by_user and earlier.by_user:
                    message.turns |= earlier.turns
                    message.fails |= earlier.fails
                    message.around |= earlier.words
                elif message.by_user and (message.turns or message.fails):
                    message.around |= earlier.words

    def _group(self) -> None:
        groups: list[Exchange] = []
        with_word: dict[str, list[int]] = {}
        for message in self.messages:
            joins = not message.by_user or message.first.act is Act.ACCEPTS
            known = [self.exchanges[earlier.first.source] for earlier in self.replied(message.first) if joins]
            exchange = known[-1] if known else Exchange([])
            if not known:
                groups.append(exchange)
            exchange.messages.append(message)
            exchange.words |= subject(message.text)
            self.exchanges[message.first.source] = exchange
        weights = [self.weight(exchange.words) + _SLACK for exchange in groups]
        for place, exchange in enumerate(groups):
            shared: dict[int, set[str]] = {}
            for word in exchange.words:
                for earlier in with_word.setdefault(word, []):
                    shared.setdefault(earlier, set()).add(word)
                with_word[word].append(place)
            if not exchange.turns and not (exchange.fails and exchange.messages[0].by_user):
                continue
            likest = sorted(
                (
                    (self.weight(words) / (weights[earlier] * weights[place]) ** 0.5, earlier)
                    for earlier, words in shared.items()
                ),
                reverse=True,
            )
            for sure, (likeness, earlier) in zip(_TAKEN_UP, likest, strict=False):
                target = groups[earlier]
                exchange.settles = max(exchange.settles, likeness)
                if exchange.turns:
                    target.turned = max(target.turned, sure * likeness)
                if exchange.messages[0].by_user:
                    target.turned_by_user = max(target.turned_by_user, likeness)
