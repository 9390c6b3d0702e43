"""From events to statements: what of a talk is worth keeping at all."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from brainops.contracts.message import Role
from brainops.memory.understanding import acts
from brainops.memory.understanding.documents import house_rules
from brainops.memory.understanding.model import Act, Event, Speaker, Statement, StatementKind
from brainops.memory.understanding.scope import Scopes, is_aside, own_names, pair, returns, turns_to
from brainops.memory.understanding.smalltalk import is_smalltalk
from brainops.memory.understanding.text import sentences
from brainops.memory.understanding.times import ends_at
from brainops.memory.understanding.words import content, overlap, specific

_SHORT = 330
"""Up to so many characters an assistant's message is a turn of the talk; above, it is a report on its own work."""

_LONGEST = 600
"""A single sentence longer than this is no sentence."""

_RULES_AT_MOST = 12
"""House rules of one session."""

_READ = 20_000
"""So many characters of a message are read; people do not say more at once."""

_REDACTED = re.compile(
    r"[\[<(*]{1,2}(?:redacted|removed|secret|masked|filtered)\b[^\])>*\n]{0,60}[\])>*]{1,2}|\*{4,}", re.IGNORECASE
)


@dataclass
class Turn:
    """What a user or the assistant said at once, as far as it may matter later."""

    event: Event
    sentences: list[str]
    long: bool
    replies_to: list["Turn"] = field(default_factory=list["Turn"])
    empty_yes: bool = False
    """It says yes and nothing else."""

    @property
    def by_user(self) -> bool:
        return self.event.role is Role.USER

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def statement_id(source: str, place: int, text: str) -> str:
    """The same for the same sentence of the same message."""
    digest = hashlib.sha256(f"{source}\0{place}\0{text}".encode("utf-8", "replace"))
    return digest.hexdigest()[:20]


def read_turns(events: Sequence[Event]) -> list[Turn]:
    """The talk of a session, steering and narration left out, each turn with what it replies to."""
    turns: list[Turn] = []
    for event in events:
        if event.role not in (Role.USER, Role.ASSISTANT):
            continue
        said = [
            sentence
            for sentence in sentences(event.text[:_READ])
            if len(sentence) <= _LONGEST and not _only_redacted(sentence)
        ]
        if not said:
            continue
        long = event.role is Role.ASSISTANT and (len(event.text) > _SHORT or len(said) > 7)
        turns.append(Turn(event, said, long))
    _link(turns)
    return turns


def _only_redacted(sentence: str) -> bool:
    """Whether nothing is left but the mark of what was taken out."""
    return bool(_REDACTED.search(sentence)) and len(content(_REDACTED.sub("", sentence))) < 3


def _link(turns: list[Turn]) -> None:
    """Find out who answers whom: the user the assistant's last short turn, the assistant what the user has just said."""
    offered: Turn | None = None
    told: list[Turn] = []
    for turn in turns:
        if turn.by_user:
            turn.empty_yes = acts.is_empty_yes(turn.text)
            if offered is not None and (
                acts.accepts(turn.text)
                or turn.empty_yes
                or overlap(content(turn.text), content(offered.text)) > 0
                or _refers(turn.text)
            ):
                turn.replies_to.append(offered)
            if not acts.is_steering(turn.text):
                told.append(turn)
            offered = None if not turn.empty_yes else offered
        elif not turn.long:
            if told:
                turn.replies_to.extend(told[-1:])
            told = []
            if not all(acts.is_process(sentence) for sentence in turn.sentences):
                offered = turn


def _refers(text: str) -> bool:
    """Whether it speaks of something just said: "tell them that", "no, we tried it"."""
    return bool(
        re.match(
            r"(?:no|nope|not|never|stop|wait|hm|but|and|that|it|then|so)\b|.*\b(?:that|it|this|those|them)\b",
            text,
            re.IGNORECASE,
        )
    )


def extract(events: Sequence[Event], known_words: Counter[str], known_scopes: Scopes | None = None) -> list[Statement]:
    """The statements of a session in the order said, before later ones are held against them."""
    turns = read_turns(events)
    scopes = known_scopes or Scopes()
    scoped = _scoped(turns, scopes, known_words)
    spread = known_words + Counter(found for event in events for found in content(event.text[:_READ]))
    accepted = {id(reply) for turn in turns if turn.by_user and _is_yes(turn) for reply in turn.replies_to}
    taken_up = accepted | {
        id(reply) for turn in turns if turn.by_user and acts.orders(turn.text) for reply in turn.replies_to
    }
    answers: dict[int, str] = {}
    for turn in turns:
        if not turn.by_user:
            for reply in turn.replies_to:
                answers[id(reply)] = turn.text
    shapes = Counter(_shape(sentence) for turn in turns if turn.long for sentence in turn.sentences)
    said_by_user = frozenset(found for turn in turns if turn.by_user for found in content(turn.text))
    found: list[Statement] = []
    last = next(
        (
            turn
            for turn in reversed(turns)
            if turn.by_user and not acts.is_steering(turn.text) and not acts.is_question(turn.text)
        ),
        None,
    )
    offered_last = next((turn for turn in reversed(turns) if not turn.by_user and not turn.long), None)
    for turn in turns:
        if turn.by_user and _is_chatter(turn, spread, answers.get(id(turn), ""), last=turn is last):
            continue
        own: list[Statement] = []
        for place, sentence in enumerate(turn.sentences):
            if turn.long and not _worth_keeping(sentence, shapes, said_by_user):
                continue
            if turn.by_user and _is_aside_of_life(sentence, turn, spread):
                continue
            statement = _statement(turn, place, sentence, accepted=id(turn) in accepted)
            passed_over = turn is not offered_last and id(turn) not in taken_up
            if (
                statement is not None
                and statement.act is Act.PROPOSES
                and passed_over
                and statement.kind is StatementKind.DECISION
            ):
                continue
            if statement is not None:
                own.append(
                    statement.model_copy(
                        update={"scope": scoped[id(turn)][place], "aside": scoped[id(turn)][place] in scopes.asides}
                    )
                )
        found.extend(_share_the_end(own, found))
    found.extend(_rules_read(events))
    order = {event.source: place for place, event in enumerate(events)}
    return sorted(found, key=lambda statement: (order[statement.source], statement.place))


def _rules_read(events: Sequence[Event]) -> Iterator[Statement]:
    """What files and tools say that must or must not be, each once."""
    seen: set[str] = set()
    for event in events:
        if event.role is not Role.TOOL:
            continue
        for place, rule in enumerate(house_rules(event.text)):
            if rule in seen or _only_redacted(rule) or len(seen) == _RULES_AT_MOST:
                continue
            seen.add(rule)
            yield Statement(
                id=statement_id(event.source, place, rule),
                kind=StatementKind.CONSTRAINT,
                text=rule,
                speaker=Speaker.TOOL,
                at=event.at,
                source=event.source,
                place=place,
                importance=0.45,
            )


def _scoped(turns: Sequence[Turn], scopes: Scopes, known_words: Counter[str]) -> dict[int, list[str]]:
    """For each turn the scope of each of its sentences."""
    focus = ""
    heard = set(known_words)
    opening = next((turn.text for turn in turns if turn.by_user), "")
    found: dict[int, list[str]] = {}
    for turn in turns:
        if turn.by_user:
            for name in pair(turn.text):
                scopes.find(name)
        aside = ""
        own: list[str] = []
        for sentence in turn.sentences:
            turned = turns_to(sentence, scopes, heard) if turn.by_user else ""
            named = scopes.named_in(sentence)
            if turned and is_aside(sentence):
                aside = turned
            elif turned:
                focus = turned
            elif (
                turn.by_user
                and focus
                and not named
                and (returns(sentence) or own_names(opening) & specific(sentence) - specific(focus))
            ):
                focus = ""
            own.append(turned or (named[0] if len(named) == 1 else "" if named else aside or focus))
            if turn.by_user or not turn.long:
                heard |= content(sentence)
        if not turn.by_user and turn.replies_to:
            answered = set(found.get(id(turn.replies_to[-1]), ()))
            if len(answered) == 1 and not scopes.named_in(turn.text):
                own = [*answered] * len(own)
        found[id(turn)] = own
    return found


_POINTS_BACK = re.compile(r"^(?:\S+ ){0,2}(?:it|its|that|that's|this|they|them|those|these|he|she)\b", re.IGNORECASE)


def _share_the_end(own: list[Statement], before: Sequence[Statement]) -> list[Statement]:
    """Give the end of an arrangement also to the sentence that it points back to, and to the answer that repeats it."""
    shared = list(own)
    for place, statement in enumerate(own):
        if (
            statement.expires_at is not None
            and place
            and shared[place - 1].expires_at is None
            and _POINTS_BACK.search(statement.text)
        ):
            shared[place - 1] = shared[place - 1].model_copy(update={"expires_at": statement.expires_at})
    for place, statement in enumerate(shared):
        if statement.expires_at is None and statement.speaker is Speaker.ASSISTANT and len(statement.text) < 120:
            words = content(statement.text)
            said = [earlier for earlier in before[-12:] if earlier.source in statement.replies_to]
            best = max(said, key=lambda earlier: len(words & content(earlier.text)), default=None)
            if best is not None and best.expires_at is not None and words & content(best.text):
                shared[place] = statement.model_copy(update={"expires_at": best.expires_at})
    return shared


def _is_yes(turn: Turn) -> bool:
    first = turn.sentences[0]
    return turn.empty_yes or (acts.accepts(first) and not acts.is_question(turn.text))


def _is_chatter(turn: Turn, spread: Counter[str], answer: str, *, last: bool) -> bool:
    own = content(turn.text)
    return is_smalltalk(
        turn.text,
        used_elsewhere=lambda found: spread[found] - (found in own),
        binding=any(_is_work(sentence) for sentence in turn.sentences),
        answered=len(own & content(answer)) >= 2,
        at_the_end=last,
    )


def _is_aside_of_life(sentence: str, turn: Turn, spread: Counter[str]) -> bool:
    """Whether one sentence of a longer message is chatter."""
    own = content(turn.text)
    if len(turn.sentences) == 1:
        return False
    return is_smalltalk(
        sentence, used_elsewhere=lambda found: spread[found] - (found in own), binding=_is_work(sentence), surely=True
    )


def _is_work(sentence: str) -> bool:
    return (acts.binds(sentence) and (acts.orders(sentence) or acts.leaves_open(sentence))) or bool(
        _DAYS.search(sentence)
    )


_DAYS = re.compile(
    r"\b(?:on|until|till|by|before|next|this|every|from|and) (?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|\b\d{1,2}:\d\d\b|\b(?:ask|asked|a call|contact|until|deadline|customer|deploy\w*|release\w*)\b",
    re.IGNORECASE,
)


def _shape(sentence: str) -> str:
    """The sentence without its figures and names: reports of routine have one shape many times."""
    return re.sub(r"`[^`]*`|\S*[\d_/]\S*", "#", sentence)[:24].lower()


def _worth_keeping(sentence: str, shapes: Counter[str], said_by_user: frozenset[str]) -> bool:
    """Of a long report: what was found, done or left open, and speaks of what the user speaks of."""
    if shapes[_shape(sentence)] > 1 or acts.is_process(sentence) or len(sentence) < 25:
        return False
    strong = _STRONG.search(sentence)
    return bool(strong) and len(content(sentence) & said_by_user) >= 2 and bool(specific(sentence))


_STRONG = re.compile(
    r"\b(?:decided|we agreed|root cause|the cause (?:is|was)|caused by|turned out|fixed (?:by|it|the)|that fixes|blocked (?:by|on|until)|waits? for|waiting for|still open|open:|left:|remaining:|remains? open|must not|must never|from now on|"
    r"is (?:released|merged|deployed|live)|rolled back|next step is|not yet (?:done|written|released))\b",
    re.IGNORECASE,
)


def _statement(turn: Turn, place: int, sentence: str, *, accepted: bool) -> Statement | None:
    by_user = turn.by_user
    if by_user and (acts.is_steering(sentence) and not acts.is_lasting(sentence)):
        return None
    if (
        not by_user
        and acts.is_process(sentence)
        and not (acts.reports(sentence) or acts.leaves_open(sentence) or acts.finds(sentence))
    ):
        return None
    if acts.is_empty_yes(sentence):
        return None
    act = _act(turn, place, sentence)
    kind = acts.kind_of(sentence, act, by_user=by_user)
    if accepted and act is Act.PROPOSES and kind not in (StatementKind.TODO, StatementKind.CONSTRAINT):
        kind = StatementKind.DECISION
    return Statement(
        id=statement_id(turn.event.source, place, sentence),
        kind=kind,
        act=act,
        text=sentence,
        speaker=Speaker.USER if by_user else Speaker.ASSISTANT,
        at=turn.event.at,
        source=turn.event.source,
        place=place,
        replies_to=tuple(reply.event.source for reply in turn.replies_to),
        expires_at=ends_at(sentence, turn.event.at),
        importance=_IMPORTANCE[kind] * (1.0 if by_user or not turn.long else 0.6),
    )


_IMPORTANCE = {
    StatementKind.TODO: 0.9,
    StatementKind.DECISION: 0.8,
    StatementKind.CONSTRAINT: 0.9,
    StatementKind.PREFERENCE: 0.8,
    StatementKind.FIX: 0.7,
    StatementKind.STATE: 0.6,
    StatementKind.PASSING: 0.5,
    StatementKind.DONE: 0.5,
}


def _act(turn: Turn, place: int, sentence: str) -> Act:
    if acts.is_question(sentence):
        return Act.ASKS
    return _act_of_user(turn, place, sentence) if turn.by_user else _act_of_assistant(turn, place, sentence)


def _act_of_user(turn: Turn, place: int, sentence: str) -> Act:
    if place == 0 and turn.replies_to and acts.accepts(sentence):
        return Act.ACCEPTS
    if acts.guesses(sentence):
        return Act.GUESSES
    return Act.REQUESTS if acts.orders(sentence) and not acts.is_lasting(sentence) else Act.TELLS


def _act_of_assistant(turn: Turn, place: int, sentence: str) -> Act:
    if acts.guesses(sentence):
        return Act.GUESSES
    if acts.proposes(sentence) or acts.offers_choice(turn.text):
        return Act.PROPOSES
    if not turn.replies_to:
        return Act.TELLS
    own = content(sentence)
    shared = len(own & content(turn.replies_to[0].text))
    repeats = shared >= max(1, len(own) // 3) or (shared and place == 0 and len(own) <= _BRIEF_ANSWER)
    return Act.CONFIRMS if repeats else Act.TELLS


_BRIEF_ANSWER = 8
"""Content words up to which an answer with a word of the question repeats it."""
