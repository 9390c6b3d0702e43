"""What a colleague who was there would say when work is resumed."""

import heapq
import re
from collections.abc import Sequence
from datetime import datetime

from brainops.memory.understanding.model import Act, Brief, Statement, StatementKind, StatementStatus
from brainops.memory.understanding.scope import scopes_of
from brainops.memory.understanding.standing import standing
from brainops.memory.understanding.times import afterwards
from brainops.memory.understanding.waits import (
    back_again,
    come,
    ended,
    hangs_on,
    is_over,
    is_repaired,
    recovered,
    was_shut,
    without_wait,
)
from brainops.memory.understanding.words import content, numbers, specific

_SECTIONS = (
    ("Open work and what it waits for", (StatementKind.TODO,)),
    ("Decisions in force", (StatementKind.DECISION,)),
    ("Rules and preferences", (StatementKind.CONSTRAINT, StatementKind.PREFERENCE)),
    ("How obstacles were overcome", (StatementKind.FIX,)),
    ("Where things stand", (StatementKind.STATE, StatementKind.DONE)),
    ("In passing", (StatementKind.PASSING,)),
)
_SECTION_OF = {kind: place for place, (_, kinds) in enumerate(_SECTIONS) for kind in kinds}


def brief(
    statements: Sequence[Statement], *, prompt: str, now: datetime, budget_tokens: int, project: str = ""
) -> Brief:
    """The context to inject for `prompt`: only what holds at `now`, the most useful first where the budget is short."""
    wanted = content(prompt) | content(project)
    meant = _meant(statements, f"{prompt}\n{project}")
    arrived = come(prompt)
    likely = _likely(statements, wanted, budget_tokens)
    held = [
        _since(one.statement, now)
        for one in standing(likely, prompt, now)
        if one.statement.scope in meant and one.holds and _is_in_force(one.statement, now, prompt)
    ]
    over = ended(prompt)
    if over:
        held = [s for s in held if not (over & content(s.text) and _TEMPORARY.search(s.text))]
    if well := recovered(prompt):
        held = [s for s in held if not is_repaired(s.text, well)]
    if arrived:
        held = _without_waits(held, arrived)
    held = _without_the_shut(held, prompt, now)
    ranked = sorted(
        range(len(held)),
        key=lambda place: (-_worth(held[place], wanted), -held[place].at.timestamp(), held[place].id),
    )
    room = budget_tokens * 4
    chosen: set[int] = set()
    seen: list[tuple[frozenset[str], frozenset[str]]] = []
    headings: set[int] = set()
    for place in ranked:
        statement = held[place]
        words = content(statement.text)
        if _is_said(words, numbers(statement.text), seen):
            continue
        section = _SECTION_OF[statement.kind]
        cost = len(_line(statement, now)) + 1 + (0 if section in headings else len(_SECTIONS[section][0]) + 5)
        if cost > room:
            continue
        room -= cost
        headings.add(section)
        seen.append((words, numbers(statement.text)))
        chosen.add(place)
    return _write([held[place] for place in sorted(chosen)], now)


def _likely(statements: Sequence[Statement], wanted: frozenset[str], budget_tokens: int) -> Sequence[Statement]:
    """Those that may come into the brief, in their order; of very many, the important, the recent and the asked for.

    The cheap look at each: a stem of the prompt as it stands in the text. What is left is read in full.
    """
    current = [statement for statement in statements if statement.status is StatementStatus.CURRENT]
    most = max(_AT_LEAST, budget_tokens // _SHORTEST)
    if len(current) <= most:
        return current
    stems = [word for word in sorted(wanted) if len(word) > 2][:_STEMS]

    def worth(place: int) -> tuple[float, int]:
        text = current[place].text.lower()
        return (current[place].importance + 0.3 * sum(word in text for word in stems), place)

    kept = heapq.nlargest(most, range(len(current)), key=worth)
    return [current[place] for place in sorted(kept)]


_AT_LEAST = 120
_SHORTEST = 14
"""Tokens of a short line: more statements than fit in such lines would not be told. A look at one costs a third of a millisecond."""
_STEMS = 24


def _meant(statements: Sequence[Statement], prompt: str) -> frozenset[str]:
    """The scopes that the prompt is about: those it names, else all but those digressed to; always what has none."""
    if not any(statement.scope for statement in statements):
        return frozenset([""])
    scopes = scopes_of(statements)
    named = scopes.named_in(prompt)
    return frozenset(["", *(named or (name for name in scopes.names if name not in scopes.asides))])


def _is_in_force(statement: Statement, now: datetime, prompt: str) -> bool:
    return _holds(statement, now) or _asked_again(statement, now, prompt) or _goes_on(statement)


def _holds(statement: Statement, now: datetime) -> bool:
    if statement.status is not StatementStatus.CURRENT or statement.act is Act.ASKS:
        return False
    return statement.expires_at is None or now <= statement.expires_at


def _is_said(
    words: frozenset[str], figures: frozenset[str], seen: Sequence[tuple[frozenset[str], frozenset[str]]]
) -> bool:
    """Whether a line with the same words and figures is there already."""
    return any(figures <= others and len(words & known) >= 0.9 * len(words) for known, others in seen)


_TEMPORARY = re.compile(
    r"\b(?:until|till|while|during|as long as|for now|for the moment|temporar\w+|nothing|no|not|don't|hold|wait|freeze|pause\w*|stop\w*|closed|only)\b",
    re.IGNORECASE,
)


def _without_waits(statements: Sequence[Statement], arrived: frozenset[str]) -> list[Statement]:
    """The statements less the waits that are over, and less what only repeated one of those."""
    left = [(statement, _waits_no_more(statement, arrived)) for statement in statements]
    brought = [statement for statement, rest in left if rest != statement]
    left = [(statement, None if rest and _hung_on(statement, brought) else rest) for statement, rest in left]
    over = {statement.source: content(statement.text) for statement, rest in left if rest is None}
    return [
        rest
        for _, rest in left
        if rest is not None
        and not (
            rest.act is Act.CONFIRMS
            and any(over.get(source, frozenset()) & content(rest.text) for source in rest.replies_to)
        )
    ]


def _hung_on(statement: Statement, brought: Sequence[Statement]) -> bool:
    """Whether it waited for what others say was still to come from the one who has come now."""
    return any(
        statement != first
        and hangs_on(
            statement.text, content(first.text), answers=first.source in (statement.source, *statement.replies_to)
        )
        for first in brought
    )


def _without_the_shut(statements: Sequence[Statement], prompt: str, now: datetime) -> list[Statement]:
    """The statements less those that something is locked or stopped which the prompt or a later one tells is so no more."""
    told = [(now, back_again(prompt)), *((one.at, back_again(one.text)) for one in statements)]
    again = [(at, back) for at, back in told if back]
    return [one for one in statements if not any(one.at < at and was_shut(one.text, back) for at, back in again)]


def _waits_no_more(statement: Statement, arrived: frozenset[str]) -> Statement | None:
    """The statement without a wait that the prompt says is over; None if it said nothing else."""
    if not is_over(statement.text, arrived):
        return statement
    rest = without_wait(statement.text)
    return statement.model_copy(update={"text": rest}) if rest else None


def _goes_on(statement: Statement) -> bool:
    """Whether it says what holds after the end that is now past."""
    return (
        statement.status is StatementStatus.CURRENT
        and statement.act is not Act.ASKS
        and len(content(afterwards(statement.text))) >= 2
    )


def _since(statement: Statement, now: datetime) -> Statement:
    """Of an arrangement whose end is past, what it said of the time after."""
    after = afterwards(statement.text)
    if statement.expires_at is None or now <= statement.expires_at or len(content(after)) < 2:
        return statement
    return statement.model_copy(update={"text": f"since {statement.expires_at:%d %B %Y}: {after}", "expires_at": None})


def _asked_again(statement: Statement, now: datetime, prompt: str) -> bool:
    """A temporary arrangement that is over, but that the prompt speaks of by its figures."""
    if statement.status is not StatementStatus.CURRENT or statement.expires_at is None or now <= statement.expires_at:
        return False
    return bool(numbers(statement.text) & numbers(prompt)) and bool(specific(statement.text) & specific(prompt))


def _worth(statement: Statement, wanted: frozenset[str]) -> float:
    words = content(statement.text)
    return statement.importance + (0.5 * len(words & wanted) / max(1, min(len(words), len(wanted))))


def _line(statement: Statement, now: datetime) -> str:
    text = re.sub(r"\s+", " ", statement.text).strip()
    if statement.expires_at is not None and statement.expires_at < now:
        return f"- over since {statement.expires_at:%d %B %Y}: {text}"
    return f"- {text}"


def _write(statements: Sequence[Statement], now: datetime) -> Brief:
    lines: list[str] = []
    used: list[str] = []
    for place, (heading, _) in enumerate(_SECTIONS):
        own = [statement for statement in statements if _SECTION_OF[statement.kind] == place]
        if not own:
            continue
        lines.append(("" if not lines else "\n") + f"## {heading}")
        last = ""
        for statement in own:
            line = _line(statement, now)
            if statement.source == last and lines[-1].startswith("- ") and not line.startswith("- over"):
                lines[-1] += " " + line[2:]
            else:
                lines.append(line)
            last = statement.source
            used.append(statement.id)
    text = "\n".join(lines)
    return Brief(text=text, tokens=(len(text) + 3) // 4, used=tuple(used))
