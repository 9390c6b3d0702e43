"""ContextKeeper: what to keep, what to restore, what repeats.

What says the same is merged without asking only where nothing but stop words, case and inflection differs; anything
less clear is proposed to a person. What repeats often enough is proposed with its evidence, once.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum

from agents.charter import Charter
from brainops.contracts.agent import AgentName
from brainops.contracts.keeping import (
    AskedQuestion,
    Evidence,
    FinishedWork,
    Measured,
    MemoryText,
    MergeMemories,
    NewProposal,
    OpenTodo,
    PromoteKnowledge,
    ProposalKind,
    RecurringFault,
    Repeated,
    Runbook,
    SettledFault,
)
from brainops.contracts.names import REMEDY_NAMES

CHARTER = Charter(
    name=AgentName.CONTEXT_KEEPER,
    purpose="Decides what of the past is kept, what is restored, and what repeats.",
    capabilities=(
        "keep conversations and decisions",
        "restore the context of an interrupted session",
        "see what repeats",
    ),
    has_job=True,
    job="reads finished sessions, merges what says the same, proposes what repeats, archives and purges",
)

WINDOW = timedelta(days=30)
"""Within which something repeats; messages are in rows for as long by default."""

LEAST_QUESTIONS = 3
"""Sessions in which the same is asked, from which on the answer is proposed as knowledge."""

LEAST_FAULTS = 5
"""Incidents of one signature and service, from which on finding the cause is proposed."""

LEAST_SETTLED = 3
"""Incidents of one signature that people settled in the same way, from which on that is proposed as the known way."""

LEAST_WORK = 3
"""Times that the same work was claimed and done, from which on making it repeatable is proposed."""

LIKELY_COSINE = 0.92
LIKELY_OVERLAP = 0.7
"""Of vectors and of words, from which on two memories are shown to a person as one. Both: the mean of word vectors
hardly sees the one word by which `on Friday` differs from `on Monday`, and words do not see other words for the same."""

SAME_QUESTION = 0.6
"""Overlap of the words of two questions, from which on they ask the same: who asks again keeps the nouns."""

LEAST_TERMS = 3
"""Words beside stop words that a question must have: `why not?` repeats without asking the same."""

MEASURED_AFTER = timedelta(days=7)
"""So long after it was accepted a proposal's effect is counted for the first time."""

MEASURED_WITHIN = timedelta(days=28)
"""So much after it is counted, at most."""

MOST_IDS = 50

_WORD = r"[^\W_]+(?:['\u2019][^\W_]+)?"
_TELLING = frozenset(
    [
        "not",
        "no",
        "nor",
        "never",
        "none",
        "without",
        "cannot",
        "only",
        "except",
        "unless",
        "until",
        "till",
        "before",
        "after",
        "from",
        "to",
        "into",
        "onto",
        "off",
        "on",
        "over",
        "under",
        "above",
        "below",
        "up",
        "down",
        "out",
        "against",
        "instead",
        "was",
        "were",
        "had",
        "will",
        "would",
        "should",
        "must",
        "may",
        "might",
        "could",
        "if",
    ]
)
"""Little words that an index leaves out and by which one sentence says the opposite, or another time, of another."""

_SHORTER = {"into": "to", "onto": "on", "till": "until"}


class Sameness(Enum):
    """Whether two memories say the same."""

    SAME = "same"
    """Certainly: they are merged."""
    LIKELY = "likely"
    """A person is asked."""
    OTHER = "other"


def sameness(first: MemoryText, second: MemoryText, cosine: float | None) -> Sameness:
    """Whether two memories of the same scopes, kind, type and name say the same; `cosine`: of their vectors, if known."""
    if any(part(first.content) != part(second.content) for part in (_numbers, _signs, _telling)):
        return Sameness.OTHER
    if first.terms == second.terms:
        return Sameness.SAME if first.terms else Sameness.OTHER
    if _named_otherwise(first, second) or _turned_around(first, second):
        return Sameness.OTHER
    if cosine is not None and cosine >= LIKELY_COSINE and overlap(first.terms, second.terms) >= LIKELY_OVERLAP:
        return Sameness.LIKELY
    return Sameness.OTHER


def overlap(first: Iterable[str], second: Iterable[str]) -> float:
    """Share of the words of both that they have in common, 0 to 1 (Jaccard)."""
    ours, theirs = set(first), set(second)
    return len(ours & theirs) / len(ours | theirs) if ours or theirs else 0.0


def propose_merge(newer: MemoryText, older: MemoryText) -> NewProposal:
    """Two memories that are likely the same."""
    ids = sorted((str(newer.id), str(older.id)))
    return NewProposal(
        key=f"merge/{ids[0]}/{ids[1]}",
        kind=ProposalKind.MERGE_MEMORIES,
        what=f"Merge two memories of {', '.join(older.scopes)} into the older one:\n- {_short(older.content)}\n"
        f"- {_short(newer.content)}",
        why="They have nearly all words in common, and the same numbers, names and negations.",
        evidence=Evidence(count=2, ids=tuple(ids), repeated=Repeated(of="duplicates", keep=older.id)),
        expected_effect="One result instead of two, with what was known of both.",
        change=MergeMemories(keep=older.id, merge=(newer.id,)),
    )


def repeated_questions(questions: Sequence[AskedQuestion]) -> list[list[AskedQuestion]]:
    """Questions that ask the same in `LEAST_QUESTIONS` sessions or more; each list oldest first, the longest list first."""
    asked = sorted((one for one in questions if len(set(one.terms)) >= LEAST_TERMS), key=lambda one: one.at)
    groups: list[list[AskedQuestion]] = []
    by_term: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for question in asked:
        shared = Counter(
            group for term in set(question.terms) for group in by_term[question.scope, question.owner, term]
        )
        # A group is known by its first question; all others are held against that one.
        best = [
            (count, -group) for group, count in shared.items() if same_question(groups[group][0].terms, question.terms)
        ]
        if best:
            groups[-max(best)[1]].append(question)
            continue
        groups.append([question])
        for term in set(question.terms):
            by_term[question.scope, question.owner, term].append(len(groups) - 1)
    often = [group for group in groups if len({one.session_id for one in group}) >= LEAST_QUESTIONS]
    return sorted(often, key=len, reverse=True)


def same_question(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two questions, by their words, ask the same."""
    digits = [{term for term in terms if any(map(str.isdigit, term))} for terms in (first, second)]
    return digits[0] == digits[1] and overlap(first, second) >= SAME_QUESTION


def propose_answer(group: Sequence[AskedQuestion], answer: str) -> NewProposal:
    """The answer to a question that is asked again and again; `answer`: what was said to the newest of the group."""
    first, newest = group[0], group[-1]
    sessions = tuple(dict.fromkeys(one.session_id for one in group))
    repeated = Repeated(of="questions", scope=first.scope, owner=first.owner, terms=tuple(sorted(set(first.terms))))
    return NewProposal(
        key=f"answer/{first.scope}/{first.owner}/{' '.join(repeated.terms)}"[:1000],
        kind=ProposalKind.PROMOTE_KNOWLEDGE,
        what=f"Remember the answer to: {_short(newest.text)}",
        why=f"It was asked in {len(sessions)} sessions of {first.scope} within {WINDOW.days} days.",
        evidence=Evidence(count=len(group), days=WINDOW.days, ids=sessions[-MOST_IDS:], repeated=repeated),
        expected_effect="It is restored with the session, and asked less often.",
        change=PromoteKnowledge(
            content=f"{_short(newest.text, 500)}\n{_short(answer, 2000)}",
            type="answer",
            scope=first.scope,
            owner=first.owner,
            session_id=newest.session_id,
            message_ids=(newest.message_id,),
        ),
    )


def propose_cause(fault: RecurringFault) -> NewProposal | None:
    """Look for the cause of a fault that comes back however often it is healed."""
    if fault.count < LEAST_FAULTS:
        return None
    healed = f", {fault.resolved} times healed" + (
        f", mostly by {fault.remedy.replace('_', ' ')}" if fault.remedy else ""
    )
    return NewProposal(
        key=f"cause/{fault.service}/{fault.signature}",
        kind=ProposalKind.OPEN_TODO,
        what=f"Find out why {fault.service} comes to: {_short(fault.description)}",
        why=f"It happened {fault.count} times within {WINDOW.days} days{healed}. Healing does not end it.",
        evidence=Evidence(
            count=fault.count,
            days=WINDOW.days,
            ids=tuple(str(plan) for plan in fault.plans[:MOST_IDS]),
            repeated=Repeated(of="incidents", service=fault.service, signature=fault.signature),
        ),
        expected_effect=f"Fewer than {fault.count} incidents of it in {WINDOW.days} days.",
        change=OpenTodo(title=f"Find the cause: {fault.service}: {_short(fault.description)}", scope="default"),
    )


def propose_runbooks(settled: Sequence[SettledFault]) -> list[NewProposal]:
    """What people said they did, where they said the same of `LEAST_SETTLED` incidents of one signature."""
    groups: defaultdict[tuple[str, frozenset[str]], list[SettledFault]] = defaultdict(list)
    for fault in settled:
        said = frozenset(_words(fault.reason))
        if len(said) > 1:
            groups[fault.signature.key, said].append(fault)
    return [_runbook(group) for group in groups.values() if len(group) >= LEAST_SETTLED]


def _runbook(group: Sequence[SettledFault]) -> NewProposal:
    newest = group[-1]
    signature, solution = newest.signature, _short(newest.reason, 500)
    remedy = remedy_named(newest.reason)
    change = (
        Runbook(signature=signature, remedy=remedy, solution=solution, successes=len(group))
        if remedy
        else PromoteKnowledge(
            content=f"{_short(signature.description, 500)}: {solution}",
            memory_kind="error",
            type="fix",
            scope="default",
        )
    )
    return NewProposal(
        key=f"settled/{signature.key}/{' '.join(sorted(_words(newest.reason)))}"[:1000],
        kind=change.kind,
        what=f"Know as the way to settle {_short(signature.description)}: {solution}",
        why=f"People settled {len(group)} incidents of it, and said the same each time.",
        evidence=Evidence(
            count=len(group),
            days=WINDOW.days,
            ids=tuple(str(fault.plan_id) for fault in group[-MOST_IDS:]),
            repeated=Repeated(of="incidents", signature=signature.key),
        ),
        expected_effect=f"{remedy.replace('_', ' ').capitalize()} is tried first, and nobody has to be called."
        if remedy
        else "Who looks at the next one is told at once.",
        change=change,
    )


def remedy_named(reason: str) -> str:
    """The one remedy that a sentence of a person names (`restarted it` names `restart`); empty: none, or several."""
    said = _words(reason)
    named = [
        name
        for name in REMEDY_NAMES
        if any(
            all(word.startswith(part) for word, part in zip(said[place:], name.split("_"), strict=False))
            for place in range(len(said) - len(name.split("_")) + 1)
        )
    ]
    # `restart dependency` is named by its words, and `restart` by the first of them.
    longest = [name for name in named if not any(other != name and other.startswith(f"{name}_") for other in named)]
    return longest[0] if len(longest) == 1 else ""


def propose_repeatable_work(done: Sequence[FinishedWork]) -> list[NewProposal]:
    """Make work repeatable that was claimed and done again and again."""
    groups: defaultdict[tuple[str, frozenset[str]], list[FinishedWork]] = defaultdict(list)
    for work in sorted(done, key=lambda one: one.done_at):
        groups[work.scope, frozenset(_words(work.description))].append(work)
    return [
        NewProposal(
            key=f"work/{scope}/{' '.join(sorted(words))}"[:1000],
            kind=ProposalKind.OPEN_TODO,
            what=f"Make repeatable what is done again and again: {_short(group[-1].description)}",
            why=f"It was claimed and done {len(group)} times in {scope} within {WINDOW.days} days.",
            evidence=Evidence(
                count=len(group),
                days=WINDOW.days,
                ids=tuple(str(work.id) for work in group[-MOST_IDS:]),
                repeated=Repeated(of="work", scope=scope, terms=tuple(sorted(words))),
            ),
            expected_effect="A command or a schedule does it, and nobody claims it any more.",
            change=OpenTodo(title=f"Make it repeatable: {_short(group[-1].description)}", scope=scope),
        )
        for (scope, words), group in groups.items()
        if words and len(group) >= LEAST_WORK
    ]


def same_work(terms: Iterable[str], description: str) -> bool:
    """Whether a description has just the words of work that repeats."""
    return set(terms) == set(_words(description))


def measured_over(decided_at: datetime, now: datetime) -> timedelta | None:
    """How long after an acceptance is counted; None: it is too early to say."""
    passed = now - decided_at
    return None if passed < MEASURED_AFTER else min(passed, MEASURED_WITHIN)


def measured(evidence: Evidence, after: int, span: timedelta, now: datetime) -> Measured:
    """What an accepted proposal changed: `after` was counted in the `span` since, against what it was made from."""
    since = after / (span / timedelta(weeks=1))
    before = evidence.count * 7 / evidence.days if evidence.days else 0.0
    # What is no matter of time (two memories that say the same) is better when it does not come again.
    worse = (since > before) if evidence.days else (after >= evidence.count)
    better = (since < before) if evidence.days else (after == 0)
    return Measured(
        at=now,
        days=span.days,
        before=evidence.count,
        after=after,
        before_per_week=before,
        after_per_week=since,
        verdict="better" if better else "worse" if worse else "same",
    )


def is_known(proposal: NewProposal, earlier: Iterable[Repeated]) -> bool:
    """Whether a question, in other words, was proposed before: who rejected it once is not asked again."""
    ours = proposal.evidence.repeated
    return ours.of == "questions" and any(
        theirs.of == "questions"
        and (theirs.scope, theirs.owner) == (ours.scope, ours.owner)
        and same_question(theirs.terms, ours.terms)
        for theirs in earlier
    )


def _words(text: str) -> list[str]:
    return [word.lower().replace("\u2019", "'") for word in re.findall(_WORD, text.replace("_", " "))]


def _numbers(text: str) -> Mapping[str, int]:
    """Whatever holds a digit: numbers, versions, identifiers."""
    return Counter(token.strip(".,;:!?()[]\"'`").lower() for token in text.split() if any(map(str.isdigit, token)))


def _signs(text: str) -> str:
    """Signs that say something themselves, in order: `a < b` is not `a > b`, and C++ not C."""
    return "".join(sign for sign in text if sign in "<>=!+*/%&|^~$#@")


def _telling(text: str) -> list[str]:
    """The little words that matter, in order; `don't` is `not`."""
    said = ("not" if word.endswith("n't") else _SHORTER.get(word, word) for word in _words(text))
    return [word for word in said if word in _TELLING]


def _turned_around(first: MemoryText, second: MemoryText) -> bool:
    """Whether the words of both stand in another order around little words that matter: `A over B`, `B over A`."""
    shared = set(first.terms) & set(second.terms)
    orders = [list(dict.fromkeys(term for term in one.terms if term in shared)) for one in (first, second)]
    return orders[0] != orders[1] and bool(_telling(first.content))


def _named_otherwise(first: MemoryText, second: MemoryText) -> bool:
    """Whether one of them has a name (capitals within a sentence, or code) that the other has not."""
    names = [
        {word.lower() for word in re.findall(r"(?<=[a-z,;] )[A-Z][\w-]*|`[^`]+`|\b\w+(?:[_/.]\w+)+", one.content)}
        for one in (first, second)
    ]
    said = [set(_words(one.content)) for one in (first, second)]
    return any(not set(_words(name)) <= said[1 - side] for side in (0, 1) for name in names[side])


def _short(text: str, most: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
