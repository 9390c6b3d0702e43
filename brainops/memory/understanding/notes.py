"""The statements of one project while they are held against each other."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from brainops.memory.understanding import acts
from brainops.memory.understanding.figures import figures_of
from brainops.memory.understanding.model import Act, Speaker, Statement, StatementKind, StatementStatus
from brainops.memory.understanding.reversal import ANNOUNCES, WEAK, topic
from brainops.memory.understanding.words import content, specific

_POINTS = re.compile(
    r"\b(?:it|its|that|this|they|them|those|these|both)\b|^(?:also|shorter|longer|faster|simpler|smaller|cheaper|better|no)\b",
    re.IGNORECASE,
)


_SHORT_TALK = 40
"""In a talk of at most so many statements, no word is common by its number alone."""


@dataclass
class Note:
    """A statement with what is compared of it, while the reading goes on."""

    statement: Statement
    order: int
    words: frozenset[str]
    particular: frozenset[str]
    figures: dict[str, set[str]]
    """Unit to values."""
    status: StatementStatus
    replaced_by: str
    reason: str

    @classmethod
    def of(cls, statement: Statement, order: int) -> "Note":
        return cls(
            statement,
            order,
            content(statement.text),
            specific(statement.text),
            figures_of(statement.text),
            statement.status,
            statement.replaced_by,
            statement.reason,
        )

    @property
    def current(self) -> bool:
        return self.status is StatementStatus.CURRENT

    def end(self, status: StatementStatus, by: "Note", reason: str) -> None:
        self.status, self.replaced_by, self.reason = status, by.statement.id, reason


def union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    """All words of several sets."""
    found: set[str] = set()
    for words in sets:
        found |= words
    return frozenset(found)


class Notes:
    """Statements, oldest first, findable by their words and messages; ending one ends what stood by it."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self.notes = [Note.of(statement, order) for order, statement in enumerate(statements)]
        self._spread = Counter(word for note in self.notes for word in note.words)
        self._with_word: dict[str, list[Note]] = {}
        for note in self.notes:
            for word in note.words:
                self._with_word.setdefault(word, []).append(note)
        self._by_source: dict[str, list[Note]] = {}
        for note in self.notes:
            self._by_source.setdefault(note.statement.source, []).append(note)
        self._by_beginning: dict[str, list[str]] = {}
        for word in self._with_word:
            self._by_beginning.setdefault(word[:4], []).append(word)
        self._common = max(8, len(self.notes) // 5)

    def _rare(self, words: frozenset[str]) -> frozenset[str]:
        return frozenset(word for word in words if self._spread[word] <= self._common)

    def _earlier(self, note: Note, words: frozenset[str]) -> list[Note]:
        """Current notes of earlier messages in which one of `words` occurs, newest first."""
        seen: dict[int, Note] = {}
        for form in {form for word in words for form in self._forms(word)}:
            if self._spread[form] > max(self._common, 60):
                continue
            for other in self._with_word[form]:
                if (
                    other.order < note.order
                    and other.current
                    and other.statement.source != note.statement.source
                    and same_scope(other, note)
                ):
                    seen[other.order] = other
        return [seen[order] for order in sorted(seen, reverse=True)]

    def _is_everywhere(self, word: str, note: Note) -> bool:
        """Whether a word is what the whole talk is about, so that it tells nothing apart."""
        return (
            note.order >= 12
            and sum(1 for other in self._with_word.get(word, ()) if other.order < note.order) > 0.35 * note.order
        )

    def _tells_apart(self, word: str, other: Note, note: Note) -> bool:
        """Whether a word points at `other`: of a short talk, not one that half of the other statements have too."""
        if note.order > _SHORT_TALK:
            return True
        sources = {other.statement.source, note.statement.source}
        others = [one for one in self.notes[: note.order] if one.statement.source not in sources]
        return not others or sum(word in one.words for one in others) < 0.5 * len(others)

    def _heard(self, word: str, note: Note) -> bool:
        """Whether a word, or a longer or shorter form of it, was said before this note."""
        return any(
            other.order < note.order and other.statement.source != note.statement.source
            for form in self._forms(word)
            for other in self._with_word[form][:40]
        )

    def _forms(self, word: str) -> list[str]:
        """The words that begin alike, the word itself first: `rabbit`, `rabbitmq`."""
        return [
            form
            for form in self._by_beginning.get(word[:4], ())
            if form == word
            or (
                form not in WEAK
                and word not in WEAK
                and len(word) >= 4
                and (form.startswith(word) or word.startswith(form))
                and len(form) >= 4
            )
        ]

    @staticmethod
    def _may_not(note: Note, other: Note) -> bool:
        """The assistant does not overrule what the user wants kept to."""
        wanted = other.statement.speaker is Speaker.USER or other.statement.act is Act.CONFIRMS
        return (
            note.statement.speaker is not Speaker.USER
            and wanted
            and other.statement.kind in (StatementKind.CONSTRAINT, StatementKind.PREFERENCE)
        )

    def _only_repeats(self, note: Note, other: Note) -> bool:
        """Whether one says back, or says yes to, what the other has just said."""
        if other.statement.source not in note.statement.replies_to:
            return False
        if note.statement.speaker is Speaker.ASSISTANT:
            return other.statement.speaker is Speaker.USER
        first = self._by_source[note.statement.source][0].statement
        return first.act is Act.ACCEPTS and not ANNOUNCES.search(first.text)

    def _message_words(self, note: Note) -> frozenset[str]:
        return union(other.words for other in self._by_source[note.statement.source])

    @staticmethod
    def _alike(message: frozenset[str], about: frozenset[str]) -> frozenset[str]:
        """The words of `about` that the message has too, a long beginning of a name included: Rabbit, RabbitMQ."""
        return frozenset(
            word
            for word in about
            if word in message
            or any(
                mine not in WEAK
                and word not in WEAK
                and len(mine) >= 4
                and len(word) >= 4
                and (word.startswith(mine) or mine.startswith(word))
                for mine in message
            )
        )

    def _retire(self, note: Note, by: Note, reason: str) -> None:
        """End a note, and what stood only by it: the yes to it, its repetition, the rest of its proposal."""
        falling = [note]
        while falling:
            fallen = falling.pop()
            fallen.end(StatementStatus.SUPERSEDED, by, reason)
            for other in self._by_source[fallen.statement.source]:
                if other.current and other.order < by.order and _hangs_on(other, fallen):
                    other.end(StatementStatus.SUPERSEDED, by, reason)
            for other in self._linked(fallen):
                earlier = other.order < by.order and other.statement.source != by.statement.source
                if other.current and earlier and _stands_by(other, fallen, reason):
                    falling.append(other)

    def _linked(self, note: Note) -> list[Note]:
        """What a note replies to, and what replies to it."""
        replied = [other for source in note.statement.replies_to for other in self._by_source.get(source, ())]
        after = self.notes[note.order + 1 : note.order + 40]
        return [*replied, *(other for other in after if note.statement.source in other.statement.replies_to)]


def _stands_by(other: Note, note: Note, reason: str) -> bool:
    """Whether a linked note falls with `note`: a yes to it, what said it first, or what only repeats it."""
    replies = note.statement.source in other.statement.replies_to
    offered = note.statement.act in (Act.PROPOSES, Act.GUESSES)
    if other.statement.act is Act.ACCEPTS and offered and replies:
        return True
    if not replies and note.statement.act is Act.ACCEPTS and other.statement.act is Act.PROPOSES:
        return reason != "another value since"
    repeats = (
        other.statement.act is Act.CONFIRMS
        if replies
        else note.statement.act is Act.CONFIRMS and other.statement.speaker is Speaker.USER
    )
    return repeats and _says_the_same(other, note)


def _says_the_same(one: Note, other: Note) -> bool:
    """Whether two sentences share half their subject, or a figure of one unit."""
    first, second = topic(one.words), topic(other.words)
    if len(first & second) >= 0.5 * min(len(first), len(second)):
        return True
    return any(one.figures[unit] & other.figures[unit] for unit in one.figures.keys() & other.figures.keys())


def _hangs_on(other: Note, note: Note) -> bool:
    """Whether a sentence of the same message falls with `note`: the rest of a proposal, what points at it, its details."""
    if note.statement.act in (Act.PROPOSES, Act.GUESSES):
        return (
            other.statement.act in (Act.PROPOSES, Act.TELLS, Act.GUESSES)
            and other.statement.kind is not StatementKind.FIX
        )
    detail = (
        other.order > note.order
        and other.order <= note.order + 2
        and len(other.words) <= 6
        and not acts.is_lasting(other.statement.text)
    )
    if detail and (note.statement.act in (Act.ACCEPTS, Act.REQUESTS) or note.statement.kind is StatementKind.DECISION):
        return True
    return abs(other.order - note.order) == 1 and bool(
        _POINTS.search((other if other.order > note.order else note).statement.text)
    )


def same_scope(one: Note, other: Note) -> bool:
    """Whether they may be about the same project or customer."""
    return not one.statement.scope or not other.statement.scope or one.statement.scope == other.statement.scope
