"""What later words do to earlier ones: reversal, correction, finished work, answered questions."""

import re
from collections.abc import Sequence
from math import ceil

from brainops.memory.understanding import acts
from brainops.memory.understanding.model import Act, Speaker, StatementKind, StatementStatus
from brainops.memory.understanding.notes import Note, union
from brainops.memory.understanding.reversal import ANNOUNCES, TROUBLE, Disowned, disowned, negates, topic
from brainops.memory.understanding.values import Values
from brainops.memory.understanding.words import content, overlap

_ASSERTED = (Act.TELLS, Act.PROPOSES, Act.ACCEPTS, Act.GUESSES, Act.CONFIRMS, Act.REQUESTS)
_TELLING = 0.3
"""So much of what a plain statement is about must be named for it to be taken back."""
_UNDONE = re.compile(
    r"\b(?:rolled back|reverted|turned (?:it|that|them) (?:off|on)|(?:off|on|back) again|removed again|took (?:it|that) (?:out|back)|undone|still (?:fails|grows|broken))\b",
    re.IGNORECASE,
)
_POINTED = re.compile(
    r"\b(?:throw|drop|scrap|forget|stop|kill|remove|delete|undo|revert|cancel|take|roll) (?:it|that|this|all that|the whole thing|them)\b",
    re.IGNORECASE,
)
_TURNS = re.compile(
    r"(?:so|then|please|let's|make it|use|take|go|put|set|move|switch|we(?:'ll| will| go| take| use| do)|back)\b",
    re.IGNORECASE,
)


_BETTER = re.compile(
    r"(?:with|using|instead|without) .{3,200}\b(?:is|are|works?|takes?|needs?|gone|loses nothing|passes)\b",
    re.IGNORECASE,
)
_HELPS = re.compile(
    r"\b(?:fix(?:es|ed)?|cures?|cured|helps?|helped|brings?|brought|solves?|solved|repairs?|avoids?|prevents?)\b",
    re.IGNORECASE,
)


class Revision(Values):
    """Statements of one project, held against each other."""

    def run(self, fresh_from: int = 0) -> list[Note]:
        """Hold every note from `fresh_from` on against the earlier ones."""
        for note in self.notes[fresh_from:]:
            self._take_back(note)
            self._change_value(note)
            if note.statement.act is Act.ACCEPTS:
                for offered in self._answered(note):
                    if offered.statement.act is Act.PROPOSES and offered.current:
                        self._change_value(offered, accepted=True)
            self._redecide(note)
            self._find_better(note)
            self._finish(note)
        self._drop_guesses(fresh_from)
        return self.notes

    def _take_back(self, note: Note) -> None:
        """ "X is gone", "not X", "take X out again"."""
        if note.statement.act in (Act.ASKS, Act.GUESSES) or note.statement.expires_at is not None:
            return
        for target in disowned(note.statement.text):
            named = frozenset(word for word in target.words if self._heard(word, note))
            if len(named) == 1:
                named = frozenset(word for word in named if not self._is_everywhere(word, note))
            if not named or (target.impossible and len(named) < 0.5 * len(target.words)):
                continue
            for other in self._earlier(note, named):
                if self._is_taken_back(other, named, target, note):
                    self._retire(other, note, "taken back")

    def _is_taken_back(self, other: Note, named: frozenset[str], target: Disowned, note: Note) -> bool:
        if self._is_exempt(other, named, target, note):
            return False
        shared = self._alike(named, other.words)
        if _explains(other) and target.as_cause:
            needed = 1 if target.in_part else max(2, round(0.6 * len(target.words)))
            return bool(shared) and len(self._alike(named, self._message_words(other))) >= needed
        if other.statement.act is Act.TELLS and len(shared) < _TELLING * len(topic(other.words)):
            return False
        return len(shared) >= max(1, ceil((0.5 if target.impossible else 0.6) * len(target.words)))

    def _is_exempt(self, other: Note, named: frozenset[str], target: Disowned, note: Note) -> bool:
        """What is not taken back by naming it: open work, explanations, what denies the same thing, the user's rules."""
        statement = other.statement
        if statement.act not in _ASSERTED or self._only_repeats(note, other) or self._may_not(note, other):
            return True
        if target.impossible and statement.act not in (Act.PROPOSES, Act.ACCEPTS, Act.GUESSES):
            return True
        if _explains(other):
            return not target.as_cause and not _is_cure(statement.text, named)
        open_work = statement.kind is StatementKind.TODO and statement.act is Act.TELLS
        return open_work or (statement.kind is not StatementKind.FIX and negates(statement.text, named))

    def _redecide(self, note: Note) -> None:
        """A message that announces a change: what was settled about the same thing before."""
        statement = note.statement
        if statement.act in (Act.ASKS, Act.GUESSES) or not (
            ANNOUNCES.search(statement.text) or self._changes_course(note)
        ):
            return
        if acts.adds(statement.text) or statement.expires_at is not None:
            return
        if (
            statement.kind in (StatementKind.FIX, StatementKind.TODO)
            and statement.speaker is Speaker.ASSISTANT
            and not _UNDONE.search(statement.text)
        ):
            return
        message = topic(self._message_words(note))
        if statement.speaker is Speaker.USER:
            points = _POINTED.search(statement.text) is not None
            for source in statement.replies_to:
                for other in self._by_source.get(source, ()):
                    if points or TROUBLE.search(other.statement.text):
                        message |= topic(other.words)
        for other in self._earlier(note, message):
            if not _settles(other) or self._only_repeats(note, other) or self._may_not(note, other):
                continue
            about = topic(other.words)
            shared = frozenset(
                word for word in self._rare(self._alike(message, about)) if self._tells_apart(word, other, note)
            )
            by_user = statement.speaker is Speaker.USER
            weight = sum(1.0 if word in message else 0.5 for word in shared)
            if weight >= (0.33 if by_user else 0.5) * len(about) and len(shared) >= (
                1 if by_user and len(about) <= 2 else 2
            ):
                self._retire(other, note, "decided anew")

    def _changes_course(self, note: Note) -> bool:
        """Whether a user tells of trouble in one sentence and orders something in another."""
        if note.statement.speaker is not Speaker.USER:
            return False
        texts = [other.statement.text for other in self._by_source[note.statement.source]]
        return any(TROUBLE.search(text) for text in texts) and any(_TURNS.match(text) for text in texts)

    def _give_up(self, note: Note, offered: Sequence[Note]) -> None:
        """What the accepted turn reports trouble with: "X is too slow, Y would do", "agreed, Y"."""
        trouble = [other for other in offered if TROUBLE.search(other.statement.text)]
        for report in trouble:
            for first in self._answered(report):
                told = first.statement.speaker is Speaker.USER and first.statement.act is not Act.ASKS
                if first.current and told and first.particular & report.particular:
                    self._retire(first, note, "another way was chosen")
        troubled = union(topic(other.words) for other in trouble)
        for other in self._earlier(note, troubled):
            about = topic(other.words)
            settled = other.statement.act in (Act.PROPOSES, Act.ACCEPTS, Act.REQUESTS, Act.CONFIRMS)
            if other in offered or not settled or other.statement.kind is StatementKind.CONSTRAINT:
                continue
            if len(self._rare(self._alike(troubled, about))) >= max(1, 0.34 * len(about)):
                self._retire(other, note, "another way was chosen")

    def _find_better(self, note: Note) -> None:
        """The assistant's own way makes trouble, and it tells of one that does not."""
        if note.statement.speaker is not Speaker.ASSISTANT or not TROUBLE.search(note.statement.text):
            return
        message = self._by_source[note.statement.source]
        if any(_BETTER.match(other.statement.text) for other in message if other is not note):
            self._give_up(note, [note])

    def _answered(self, note: Note) -> list[Note]:
        """The statements to which a note replies."""
        return [other for source in note.statement.replies_to for other in self._by_source.get(source, ())]

    def _finish(self, note: Note) -> None:
        """Work that was ordered or left open, and is reported as done."""
        statement = note.statement
        if statement.speaker is not Speaker.ASSISTANT or statement.act in (Act.ASKS, Act.PROPOSES, Act.GUESSES):
            return
        for source in statement.replies_to:
            for other in self._by_source.get(source, ()):
                if other.current and other.statement.act in (Act.REQUESTS, Act.ASKS):
                    answered = other.statement.act is Act.ASKS or (
                        acts.reports(statement.text) and not acts.leaves_open(statement.text)
                    )
                    if answered and (other.statement.act is Act.ASKS or self._covers(note, other)):
                        other.end(StatementStatus.DONE, note, "done")
        if not acts.reports(statement.text) or acts.leaves_open(statement.text):
            return
        for other in self._earlier(note, self._rare(note.words))[:10]:
            if other.statement.kind is StatementKind.TODO or other.statement.act is Act.REQUESTS:
                shared = self._rare(note.words & other.words)
                if len(shared) >= 2 and overlap(note.words, other.words) >= 0.5 and self._covers(note, other):
                    other.end(StatementStatus.DONE, note, "done")

    def _covers(self, note: Note, other: Note) -> bool:
        """Whether nothing particular of the order is lost when only its report is kept."""
        missing = other.particular - note.particular - self._message_words(note)
        binding = acts.binds(other.statement.text) and acts.is_lasting(other.statement.text)
        return len(missing) <= (0 if binding else 1)

    def _drop_guesses(self, fresh_from: int) -> None:
        """A suspected cause is worth nothing once a cause was found."""
        found: Note | None = None
        for note in reversed(self.notes):
            if note.statement.kind is StatementKind.FIX and note.statement.act is not Act.GUESSES and note.current:
                found = note
            elif note.statement.act is Act.GUESSES and note.current and found is not None and found.order >= fresh_from:
                self._retire(note, found, "the cause is known")


def _explains(note: Note) -> bool:
    """Whether it tells what an error was, for certain."""
    return note.statement.kind is StatementKind.FIX and note.statement.act is Act.TELLS


def _is_cure(text: str, words: frozenset[str]) -> bool:
    """Whether those words stand for what is said to have helped."""
    helped = _HELPS.search(text)
    return helped is not None and bool(content(text[: helped.start()]) & words)


def _settles(note: Note) -> bool:
    """Whether it states how something is to be or is, and not what went wrong or is still to do."""
    statement = note.statement
    if statement.act in (Act.PROPOSES, Act.ACCEPTS, Act.CONFIRMS, Act.REQUESTS):
        return True
    return statement.act is Act.TELLS and statement.kind not in (StatementKind.TODO, StatementKind.FIX)
