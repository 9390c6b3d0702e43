"""Does precise recall give back what is called for, and nothing else? `python benchmarks/precision.py DIR --check`.

DIR has `beliefs.json` (short memories with names, aliases, scopes, owners) and `cases.json` (queries with what must and
must not come back). The beliefs are remembered, superseded and resolved through the public API of a running memory; each
query is a precise recall. A session case changes the beliefs between its turns and starts with them as they were.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar, cast
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from benchmarks import harness
from benchmarks.memory_stage import MemoryStage, memory_alone
from benchmarks.precision_scores import (
    AddAliases,
    Belief,
    Beliefs,
    Case,
    Change,
    Create,
    Given,
    Judged,
    Turn,
    figures,
    judge,
)
from brainops.contracts.memory import (
    Forget,
    Json,
    MemoryKind,
    NewMemory,
    Recall,
    RecallResult,
    Remember,
    Remembered,
    Resolve,
    Supersede,
)
from brainops.errors import BadInputError
from interfaces.demo.stage import temporary_folder

_Shape = TypeVar("_Shape")

MOST_SCOPES = 50
"""Of one memory, as the API takes them."""


def read_folder(folder: Path) -> tuple[Beliefs, list[Case]]:
    """What the folder holds. Raises BadInputError naming the file."""
    return (
        _read(folder / "beliefs.json", TypeAdapter(Beliefs)),
        _read(folder / "cases.json", TypeAdapter(list[Case])),
    )


def _read(path: Path, shape: TypeAdapter[_Shape]) -> _Shape:
    try:
        return shape.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


class Store:
    """Beliefs in a running memory."""

    def __init__(self, stage: MemoryStage, seed: Beliefs, cases: Iterable[Case]) -> None:
        self._stage = stage
        self._seed = seed
        self._personas = _persona_memories(seed, cases)
        self._asked_at = _after_everything(seed, cases)
        self._filled = 0
        self._beliefs: dict[str, Belief] = {}
        self._ids: dict[str, UUID] = {}

    async def fill(self) -> None:
        """Start anew with the beliefs of the file."""
        if self._ids:
            await self._stage.call("forget", Forget(memory_ids=tuple(self._ids.values()), reason="the case is over"))
        self._filled += 1
        self._beliefs = {}
        self._ids = {}
        for name, memory in self._personas.items():
            await self._remember(name, memory)
        await self.add(self._seed.beliefs)

    async def change(self, changes: Iterable[Change]) -> None:
        """What a session case does between its turns."""
        for change in changes:
            if isinstance(change, Create):
                await self.add([change.belief])
            else:
                await self._add_aliases(change)

    async def add(self, beliefs: Sequence[Belief]) -> None:
        """Remember beliefs, the superseded before those that take their place, and end what does not hold."""
        self._beliefs |= {belief.id: belief for belief in beliefs}
        given = {belief.id for belief in beliefs}
        for belief in _oldest_first(beliefs):
            replaced = [one for one in self._beliefs.values() if one.superseded_by == belief.id and one.id in self._ids]
            if not replaced:
                await self._remember(belief.id, self._memory(belief))
            for old in replaced:
                await self._supersede(old, belief)
            if belief.resolved_at is not None:
                await self._stage.call("resolve", Resolve(id=self._ids[belief.id], at=belief.resolved_at))
            elif belief.epistemic_status == "superseded" and belief.superseded_by not in given:
                await self._stage.call("resolve", Resolve(id=self._ids[belief.id], at=belief.updated_at))

    async def ask(self, turn: Turn, user: str) -> Given:
        """One precise recall."""
        most = turn.max_beliefs if turn.max_beliefs is not None else self._seed.defaults.max_beliefs
        request = Recall(
            query=turn.query,
            scopes=tuple(turn.scope),
            owner=user,
            k=max(most, 1),
            precise=True,
            at=self._asked_at,
        )
        found = cast("RecallResult", await self._stage.call("recall", request))
        names = {id_: name for name, id_ in self._ids.items()}
        return Given(
            relevant=[names[one.id] for one in found.results][:most],
            pinned=[names[one.id] for one in found.pinned][:most],
            questions=[names[one.id] for one in found.questions],
            persona=found.persona,
        )

    async def _remember(self, name: str, memory: NewMemory) -> None:
        answer = cast("Remembered", await self._stage.call("remember", Remember(memory=memory)))
        self._ids[name] = answer.id

    async def _supersede(self, old: Belief, belief: Belief) -> None:
        at = max(belief.created_at, old.created_at)
        request = Supersede(id=self._ids[old.id], memory=self._memory(belief), at=at)
        self._ids[belief.id] = cast("Remembered", await self._stage.call("supersede", request)).id

    async def _add_aliases(self, change: AddAliases) -> None:
        """Told again with further aliases, a memory gets them."""
        belief = self._beliefs[change.belief]
        aliases = tuple(dict.fromkeys((*belief.aliases, *(alias.lower() for alias in change.aliases))))
        self._beliefs[belief.id] = grown = belief.model_copy(update={"aliases": aliases})
        memory = self._memory(grown).model_copy(update={"id": None})
        await self._stage.call("remember", Remember(memory=memory))

    def _memory(self, belief: Belief) -> NewMemory:
        data: Json = {
            "subtype": belief.subtype,
            "relation_type": belief.relation_type,
            "participants": [str(self._id(one)) for one in belief.participants],
            "last_reinforced_at": belief.last_reinforced_at.isoformat() if belief.last_reinforced_at else None,
        }
        return NewMemory(
            id=self._id(belief.id),
            content=belief.content,
            kind=MemoryKind.KNOWLEDGE,
            type=belief.type,
            scopes=tuple(belief.scope),
            owner=belief.user,
            name=belief.canonical_name,
            aliases=belief.aliases,
            why=belief.why_it_matters,
            confidence=belief.confidence,
            pinned=belief.pinned,
            data={name: value for name, value in data.items() if value},
            at=belief.created_at,
        )

    def _id(self, belief: str) -> UUID:
        """What was forgotten keeps its id from being used again, so each filling has its own."""
        return uuid5(NAMESPACE_URL, f"{self._filled}/{belief}")


def _oldest_first(beliefs: Sequence[Belief]) -> list[Belief]:
    """What is superseded before what takes its place. Raises BadInputError for a circle."""
    waiting = {belief.id: belief for belief in beliefs}
    ordered: list[Belief] = []
    while waiting:
        awaited = {belief.superseded_by for belief in waiting.values()}
        ready = [belief for belief in waiting.values() if belief.id not in awaited]
        if not ready:
            raise BadInputError(f"beliefs supersede each other in a circle: {', '.join(sorted(waiting))}")
        ordered += ready
        for belief in ready:
            del waiting[belief.id]
    return ordered


def _persona_memories(seed: Beliefs, cases: Iterable[Case]) -> dict[str, NewMemory]:
    """A persona is its user's wherever they ask: in every scope of the file."""
    scopes = {scope for belief in seed.beliefs for scope in belief.scope}
    scopes |= {scope for case in cases for turn in case.units for scope in turn.scope}
    return {
        f"persona of {user}": NewMemory(
            content=told.persona, type="persona", owner=user, scopes=tuple(sorted(scopes)[:MOST_SCOPES]), at=seed.begun
        )
        for user, told in seed.users.items()
        if told.persona
    }


def _after_everything(seed: Beliefs, cases: Iterable[Case]) -> datetime:
    """When the cases are asked: after the last thing that the file tells."""
    changes = [change for case in cases for change in case.changes]
    created = [change.belief for change in changes if isinstance(change, Create)]
    told = [moment for belief in (*seed.beliefs, *created) for moment in belief.moments]
    return max(told) + timedelta(days=1)


async def measure(seed: Beliefs, cases: Sequence[Case]) -> tuple[list[Judged], dict[str, Given]]:
    """Ask every case; the verdicts, and what came back."""
    judged: list[Judged] = []
    answers: dict[str, Given] = {}
    with temporary_folder("precision") as folder:
        async with memory_alone(folder) as stage:
            store = Store(stage, seed, cases)
            await store.fill()
            harness.say(f"{len(seed.beliefs)} beliefs are remembered")
            for case in sorted(cases, key=lambda case: bool(case.turns)):
                if case.turns:
                    await store.fill()
                    await store.change(case.before)
                for turn in case.units:
                    given = await store.ask(turn, case.user)
                    judged.append(judge(case, turn, given, seed))
                    answers[judged[-1].name] = given
                    await store.change(turn.then)
    return judged, answers


def tables(judged: Sequence[Judged]) -> list[Table]:
    """How each category fared, and what did not pass."""
    passed = Counter(one.case.category for one in judged if one.passed)
    every = Counter(one.case.category for one in judged)
    by_category = Table("category", "cases", "passed")
    for category, count in sorted(every.items()):
        by_category.add_row(category, str(count), str(passed[category]))
    failed = Table("case", "category", "why", title="cases that did not pass")
    for one in judged:
        if not one.passed:
            failed.add_row(one.name, one.case.category, "\n".join(one.failures))
    return [by_category, failed] if failed.row_count else [by_category]


def write_answers(path: Path, answers: Mapping[str, Given]) -> None:
    """What came back, by case."""
    told = {name: given.model_dump() for name, given in answers.items()}
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Remember, ask, print; exit 2 for a folder that cannot be read."""
    parser = harness.arguments(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, metavar="DIR", help="with beliefs.json and cases.json")
    parser.add_argument("--answers", type=Path, metavar="OUT.json", help="write what came back there, by case")
    given = parser.parse_args(arguments)
    try:
        seed, cases = read_folder(given.folder)
    except (OSError, BadInputError) as error:
        harness.say(str(error))
        return 2
    judged, answers = asyncio.run(measure(seed, cases))
    if given.answers:
        write_answers(given.answers, answers)
    for table in tables(judged):
        harness.wide_console().print(table)
    return harness.finish("precision", figures(judged), given)


if __name__ == "__main__":
    sys.exit(main())
