"""The same measure with another figure: values changed, corrected, measured anew."""

import re

from brainops.memory.understanding.figures import about
from brainops.memory.understanding.model import Act, StatementKind
from brainops.memory.understanding.notes import Note, Notes
from brainops.memory.understanding.reversal import ANNOUNCES, topic
from brainops.memory.understanding.words import word_set

_CHANGES = re.compile(
    r"\b(?:from now|now|new|changed|change|instead|no longer|correct(?:ed|ion)|sorry|make it|latest|actually|rather|raised?|lowered?|reduced?|increased?|set (?:for|to)|in total|never approved|not|more like|better|again|moved?|becomes?|update[ds]?|"
    r"keep|earlier|then|from (?:today|tomorrow|monday|this|next)|as of)\b",
    re.IGNORECASE,
)
_MAKE_IT = re.compile(
    r"(?:(?:hm+|ok|oh|no|and|or)[,. ]+)*(?:make (?:it|that)|let's (?:say|do|make)|rather|i meant|sorry)\b",
    re.IGNORECASE,
)
_OBSERVES = re.compile(
    r"\b(?:jumped|jumps|saw|seen|measured|trial|happened|observed|refunded|paid|took|lasted|answered in|wrote \d+)\b",
    re.IGNORECASE,
)


_CALENDAR = word_set(
    """
    januari februari march april may june juli august septemb octob novemb decemb jan feb mar apr jun jul aug sep sept oct nov dec
    monday tuesday wednesday thursday friday saturday sunday
    """
)
_THEN = re.compile(r"(?:ok(?:ay)?[,. ]+)?(?:then|so|use|take|only|just)\b", re.IGNORECASE)


def _frame(note: Note) -> frozenset[str]:
    """The words around the figures: "closes 30 April" and "closes 14 May" have one frame."""
    return (
        frozenset(word for word in note.words if not word[0].isdigit() and word not in _CALENDAR)
        if note.figures
        else frozenset()
    )


class Values(Notes):
    """What later figures do to earlier ones."""

    def _change_value(self, note: Note, *, accepted: bool = False) -> None:
        """The same measure with another figure."""
        if not note.figures or note.statement.act is Act.ASKS or _OBSERVES.search(note.statement.text):
            return
        if note.statement.act is Act.PROPOSES and not accepted:
            return
        texts = [other.statement.text for other in self._by_source[note.statement.source]]
        changes = any(_CHANGES.search(text) or ANNOUNCES.search(text) for text in texts)
        announced = any(ANNOUNCES.search(text) for text in texts)
        message = topic(self._message_words(note))
        for other in self._earlier(note, message | _frame(note)):
            if (
                self._only_repeats(note, other)
                or self._may_not(note, other)
                or other.statement.kind is StatementKind.FIX
            ):
                continue
            for unit in note.figures:
                if (
                    (unit or _frame(note) == _frame(other))
                    and unit in other.figures
                    and not note.figures[unit] & other.figures[unit]
                    and self._is_same_slot(note, other, unit, message, changes=changes, announced=announced)
                ):
                    self._retire(other, note, "another value since")
                    break
        if not topic(note.words) - note.figures.keys():
            self._change_last_value(note)

    def _change_last_value(self, note: Note) -> None:
        """ "Make that five", "then 96": a figure alone, for what was spoken of last."""
        elliptic = _MAKE_IT.match(note.statement.text) is not None
        for other in reversed(self.notes[max(0, note.order - 6) : note.order]):
            if not other.current or other.statement.source == note.statement.source or not other.figures:
                continue
            same_unit = any(
                unit in other.figures and not note.figures[unit] & other.figures[unit] for unit in note.figures if unit
            )
            answers = other.statement.source in note.statement.replies_to and _THEN.match(note.statement.text)
            bare = same_unit and not topic(other.words) - other.figures.keys()
            if (same_unit and answers) or (
                not self._only_repeats(note, other) and (bare or (elliptic and "" in note.figures))
            ):
                self._retire(other, note, "another value since")
                return

    def _is_same_slot(
        self, note: Note, other: Note, unit: str, message: frozenset[str], *, changes: bool, announced: bool
    ) -> bool:
        """Whether two figures of one unit are values of the same thing, by the words of their clauses."""
        if unit == "release" and not {value.lstrip("v").split(".")[0] for value in note.figures[unit]} & {
            value.lstrip("v").split(".")[0] for value in other.figures[unit]
        }:
            return False
        if _frame(note) and _frame(note) == _frame(other):
            return True
        mine, theirs = about(note.statement.text, unit), about(other.statement.text, unit)
        shared = self._rare(self._alike(message if changes else mine, theirs))
        if not shared:
            return False
        apart = len(theirs) - len(shared)
        if not apart:
            return changes or len(mine - theirs) <= 2
        return (changes and len(shared) >= apart and len(mine - theirs) <= 3) or (announced and len(shared) >= apart)
