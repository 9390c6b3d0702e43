"""What a session's events say of work: what was finished, what is planned, waits, or was taken back.

A report is seldom whole in itself: `done`, answers the assistant, and the request that says what, stands before it. So
each sentence that gives work a state is kept with its thread (`work_threads`). Three habits of talk are read besides:

- a plain sentence in a brief answer tells how things are now (`the cache holds an hour`), unless the same answer
  goes on to say that it is not so yet;
- what follows `done on three of them` names the ones that are left;
- a sentence that tells a cause ends the search for it, whatever else is open.
"""

import re
from collections.abc import Iterable, Sequence

from brainops.contracts.message import Role
from brainops.memory.understanding.model import Event
from brainops.memory.understanding.text import sentences
from brainops.memory.work_likeness import WorkItem
from brainops.memory.work_states import WorkState, is_partial, only_looks, state_of, tells_cause
from brainops.memory.work_threads import Thread, joined
from brainops.memory.work_words import ACTIONS, PAST_FORMS, words

_READ = 20_000
"""Characters of a message that are read."""

_MAX_SENTENCES = 120
_MAX_TEXT = 600
_MAX_CONTEXT = 1_500

_BRIEF_SENTENCES = 4
_BRIEF = 400
"""Up to here a message is an answer; beyond, it narrates, and its sentences say less surely where work stands."""

_PLAIN_SURE = 0.9
_NARRATED_SURE = 0.6
"""How sure the state is that was read from a plain sentence of an answer, and from a narration."""

_CHANGING = frozenset(
    [
        "add",
        "remove",
        "fix",
        "change",
        "apply",
        "deploy",
        "move",
        "import",
        "export",
        "rename",
        "enable",
        "disable",
        "start",
        "stop",
        "revert",
        "restore",
        "encrypt",
        "upgrade",
        "copy",
        "backfill",
        "merge",
        "rotate",
    ]
)
"""Groups of actions by which a command changes something."""

_READ_ONLY = re.compile(
    r"\b(?:git (?:diff|log|status|show|blame)|grep|cat|ls|less|tail|head|find|logs?|query|metrics|plan|info|list|get|describe|"
    r"select|explain|show|status|help|dry-run|check|test|lint)\b"
)
_FAILED = re.compile(
    r"\b(?:error|fatal|failed|failure|denied|refused|aborted|not found)\b|\bexit(?: code| status|ed)?:? [1-9]"
)
_OPENERS = re.compile(
    r"(?:(?:ok|okay|and|then|so|please|yes|good|great|also|but|oh|now|fine|right|just|alright|in the meantime)[,.!:]?\s+)*"
)
_LATER = re.compile(
    r"\b(?:after|when|once|until|till|before|if|tomorrow|later|next|unless|don't|do not|never|not)\b|\?$"
)
_NOT_PLAIN = re.compile(
    r"^(?:noted|understood|ok|got it|sure|agreed|fine|right|[a-z]+ing)\b|\?$"
    r"|\b(?:no|not|none|nothing|never|still|fails?|failed|differs?|throws?|breaks?|wrong|broken|lacks?|needs?|wants?|stays?|finds?|"
    r"begins? again|swallows?|hangs?|show)\b|n't\b"
    r"|\bby (?:the )?(?:end|\d|january|february|march|april|may|june|july|august|september|october|november|december|"
    r"monday|tuesday|wednesday|thursday|friday)|^[a-z]+ after\b|\buntil\b|\binstead\b"
)


class WorkDone(WorkItem):
    """Work that a session told of: `state` says whether it was finished."""

    told: bool = True
    sources: tuple[str, ...] = ()
    """The messages that it was read from."""


def done_work(events: Iterable[Event]) -> list[WorkDone]:
    """What one session's events, in their order, tell of work, in the order told.

    Not only finished work: a plan or a `not yet` has to be known beside it, so that `same_work` can hold them against each
    other. Texts are cut to 600 characters, contexts to 1,500.
    """
    found: list[WorkDone] = []
    thread = Thread()
    for event in events:
        if event.role == Role.TOOL:
            found.extend(_ran(event, thread))
            continue
        said = sentences(event.text[:_READ])[:_MAX_SENTENCES]
        brief = len(said) <= _BRIEF_SENTENCES and len(event.text) < _BRIEF
        found.extend(_told(event, said, thread, brief=brief))
        if brief:
            thread.hear(event.role, event.text)
    return found


def _told(event: Event, said: Sequence[str], thread: Thread, *, brief: bool) -> list[WorkDone]:
    found: list[WorkDone] = []
    states = [_state(event.role, sentence) for sentence in said]
    some_done = taken_back = False
    for place, (sentence, spoken) in enumerate(zip(said, states, strict=True)):
        state, sure = spoken, 1.0 if brief else _NARRATED_SURE
        context = _context(said, place, thread if brief or place == 0 else None)
        answers = brief and event.role == Role.ASSISTANT
        if answers and spoken not in (WorkState.DONE, WorkState.PLANNED) and tells_cause(sentence):
            # Found is what was sought: who looks for the cause is done, though nothing is cured yet.
            found.append(_item(event, sentence, context, WorkState.DONE, sure))
        elif spoken is None and answers and not some_done and _is_plain(sentence):
            state = next((later for later in states[place + 1 :] if later), WorkState.DONE)
            sure = _PLAIN_SURE
        if spoken is None and some_done:
            state = WorkState.OPEN
        elif spoken is WorkState.DONE and taken_back:
            state = WorkState.REVERTED
        some_done = some_done or (state is WorkState.DONE and is_partial(sentence))
        taken_back = taken_back or (brief and state is WorkState.REVERTED)
        if state is not None:
            found.append(_item(event, sentence, context, state, sure))
    return found


def _ran(event: Event, thread: Thread) -> list[WorkDone]:
    """A command that changed something and did not fail."""
    command = event.text.split("\n", 1)[0][:300]
    if not command.startswith("$") or _READ_ONLY.search(command) or _FAILED.search(event.text[:_READ].lower()):
        return []
    if not any(word.groups & _CHANGING for word in words(command)):
        return []
    return [_item(event, command, _context([command], 0, thread), WorkState.DONE, 1.0)]


def _context(said: Sequence[str], place: int, thread: Thread | None) -> str:
    """What stands around a sentence: the two before it in its message, then its thread."""
    before = " ".join(said[max(0, place - 2) : place])
    return joined([before, *(thread.before(said[place]) if thread else ())])[:_MAX_CONTEXT]


def _item(event: Event, sentence: str, context: str, state: WorkState, sure: float) -> WorkDone:
    return WorkDone(
        text=sentence[:_MAX_TEXT], state=state, at=event.at, context=context, sure=sure, sources=(event.source,)
    )


def _state(role: str, sentence: str) -> WorkState | None:
    state = state_of(sentence)
    if role == Role.USER and _is_imperative(sentence):
        # `set it on both nodes` is spelled like a report.
        return WorkState.PLANNED if _LATER.search(sentence.lower()) else None if state is WorkState.DONE else state
    return state


def _is_imperative(sentence: str) -> bool:
    """Whether it begins with a verb of work in its plain form."""
    text = sentence.lower()
    opening = _OPENERS.match(text)
    text = text[opening.end() :] if opening else text
    first = words(text.split(",", 1)[0])[:1]
    if not first or not text.startswith(first[0].surface.replace("_", " ")):
        return False
    verb = first[0]
    return bool(verb.groups & ACTIONS) and verb.surface not in PAST_FORMS and not verb.surface.endswith(("ed", "ing"))


def _is_plain(sentence: str) -> bool:
    """Whether it states how things are: no question, no denial, no acknowledgement, nothing under way."""
    return (
        not (_NOT_PLAIN.search(sentence.lower()) or tells_cause(sentence) or only_looks(sentence))
        and len(words(sentence)) >= 2
    )
