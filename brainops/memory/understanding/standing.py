"""How likely it is that a statement still holds and belongs to the work, weighed from the evidence.

An additive model: each kind of evidence has one weight, the sum is a log-odds of "rather leave it out". The weights were
fitted by logistic regression on three sets of resumed sessions by different authors, each set judged with the weights
from the other two. A statement left out wrongly is one fact less; one served wrongly misleads the whole session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp

from brainops.memory.understanding.evidence import evidence
from brainops.memory.understanding.model import Act, Statement
from brainops.memory.understanding.talk import Talk, subject

WEIGHTS = {
    "offered": 1.47,  # an offer, a guess, or a yes to one
    "first": 1.96,  # a first thought, a usual reason, an easy way: said before it was looked into
    "binds": -1.44,  # must, never, only: a rule of this work, not ended
    "explains": -0.30,  # what an error was or what cured it
    "other_measure": 1.92,  # a later message gives the same measure another figure
    "other_value": 0.77,  # a later message gives the thing of that name another figure
    "disowned": 1.30,  # a later message takes back what it names
    "turned": 1.36,  # a later exchange that changes course is most like this one
    "turned_by_user": 0.96,  # the same, and the user began it
    "settles": -1.42,  # its own exchange is the one that turns against an earlier one
    "changes": -1.21,  # its message says what is to be otherwise from here on
    "early": 1.76,  # how much of the talk came after it
    "for_a_time": 1.30,  # an arrangement that holds something back for a time
    "over": 0.90,  # what it waits for has come, by the prompt or by later words
    "past": 2.68,  # its end, or the end of what it repeats, is before now
    "dated": 1.17,  # a day that is past, though it says nothing of an end
    "elsewhere": 1.06,  # said of another project, customer, team or stage
    "tied": -0.53,  # how much of it other messages speak of too
    "own_words": -1.87,  # how many words only it uses: what is said once and exactly
    "unheeded": 1.41,  # a user said it, no rule, and nobody took it up
    "chatter": 1.95,  # nothing asked for, ruled, left open or named, in words foreign to the work
}
"""Log-odds of being left out, for each kind of evidence in full."""

BIAS = -1.54
"""Log-odds of a statement for which there is no evidence at all."""

LEFT_OUT_FROM = 0.28
"""From this probability of being left out on, a statement is not served. Lower: fewer traps, fewer facts."""

_PASSED_ON = 0.3
"""So much of the doubt about what was answered passes on to the answer: the yes, the repetition, the report."""

_REASONS = {
    "offered": "only offered or accepted",
    "first": "a first thought",
    "other_measure": "the same measure has another figure since",
    "other_value": "the same name has another value since",
    "disowned": "taken back in part",
    "turned": "the course was changed there",
    "turned_by_user": "the user was not content with it",
    "for_a_time": "held for a time",
    "over": "what it waited for has come",
    "past": "its time is past",
    "dated": "its day is past",
    "elsewhere": "said of another project or stage",
    "unheeded": "nobody took it up",
    "chatter": "chatter",
}
_TOLD_FROM = 0.4
"""Evidence of this weight is named as a reason."""


@dataclass(frozen=True)
class Standing:
    """A statement, how likely it holds and belongs to the work, and what speaks against it."""

    statement: Statement
    probability: float
    reasons: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return self.probability > 1.0 - LEFT_OUT_FROM


def standing(statements: Sequence[Statement], prompt: str, now: datetime) -> list[Standing]:
    """Each statement with the probability that it holds at `now` and belongs to what `prompt` is about.

    `statements` are all that are current, in the order said: they are one another's evidence. What was put down on
    purpose (its own message, as a todo or a remembered fact is) is evidence, and stands by itself.
    """
    if not statements:
        return []
    talk = Talk(statements)
    found = [evidence(statement, talk, prompt, now) for statement in statements]
    doubts = [BIAS + sum(WEIGHTS[name] * value for name, value in one.items()) for one in found]
    said: dict[str, list[int]] = {}
    for place, statement in enumerate(statements):
        said.setdefault(statement.source, []).append(place)
    judged: list[Standing] = []
    for place, statement in enumerate(statements):
        answered = [
            other
            for source in statement.replies_to
            for other in said.get(source, ())
            if _hangs_on(statement, statements[other])
        ]
        doubt = max(
            [doubts[place], *(doubts[place] + _PASSED_ON * (doubts[other] - doubts[place]) for other in answered)]
        )
        weighed = sorted(((WEIGHTS[name] * value, name) for name, value in found[place].items()), reverse=True)
        reasons = tuple(_REASONS[name] for weight, name in weighed if weight >= _TOLD_FROM and name in _REASONS)
        put_down = statement.id == statement.source
        judged.append(Standing(statement, 1.0 if put_down else 1.0 / (1.0 + exp(doubt)), reasons))
    return judged


def _hangs_on(answer: Statement, said: Statement) -> bool:
    """Whether an answer stands and falls with what it answers: a yes and what follows it, or a repetition."""
    if said.act is Act.ASKS or answer.act not in (Act.ACCEPTS, Act.CONFIRMS, Act.TELLS):
        return False
    first, second = subject(answer.text), subject(said.text)
    if Act.ACCEPTS in (answer.act, said.act):
        return bool(first & second) or len(first) <= _SHORT or len(second) <= _SHORT
    return answer.act is Act.CONFIRMS and bool(first & second)


_SHORT = 2
"""Words that tell what it is about; of fewer, the answer alone is not understood."""
