"""Are the messages found that answer a question? `python benchmarks/recall.py DATA.jsonl --run OUT.jsonl --check`.

The data has messages and, after them, questions with the ids of the messages that answer them. Everything goes through
the public API of a running memory: sessions are begun and appended to, each in its scope, and each question is a recall
of messages inside its scope. The run file has the ranked message ids of each question.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal, cast
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError
from rich.table import Table

from benchmarks import harness
from benchmarks.memory_stage import MemoryStage, memory_alone
from benchmarks.retrieval_scores import Answered, by_category, scores
from brainops.contracts.memory import Append, NewMessage, Recall, RecallKind, RecallResult, SessionStart
from brainops.contracts.message import Role, TextPart
from brainops.errors import BadInputError
from interfaces.demo.stage import temporary_folder

TOGETHER = 100
"""Messages of one append."""


class Said(BaseModel):
    """A message of a conversation."""

    type: Literal["message"]
    scope: str
    session: str
    id: str
    author: str = ""
    at: AwareDatetime
    text: str

    @property
    def key(self) -> UUID:
        """Its id in memory; those of the data are unique inside a scope only."""
        return uuid5(NAMESPACE_URL, f"{self.scope}|{self.id}")


class Question(BaseModel):
    """A question, and the messages that answer it."""

    type: Literal["question"]
    scope: str
    id: str
    text: str
    evidence: tuple[str, ...] = Field(min_length=1)
    category: str = ""


_LINE: TypeAdapter[Said | Question] = TypeAdapter(Annotated[Said | Question, Field(discriminator="type")])


@dataclass(frozen=True)
class Data:
    """What a file holds."""

    messages: Sequence[Said]
    questions: Sequence[Question]


@dataclass(frozen=True)
class Reply:
    """What came back for a question."""

    question: Question
    ranked: Sequence[str]
    """Ids of the data, best first."""
    sessions: Sequence[str]
    seconds: float


def read_data(path: Path) -> Data:
    """The messages and questions of a file. Raises BadInputError naming the line."""
    messages: list[Said] = []
    questions: list[Question] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                read = _LINE.validate_json(line)
            except ValidationError as error:
                raise BadInputError(f"{path}:{number}: no message or question: {error.errors()[0]['msg']}") from error
            if isinstance(read, Said):
                messages.append(read)
            else:
                questions.append(read)
    return Data(messages, questions)


async def ingest(stage: MemoryStage, messages: Iterable[Said]) -> None:
    """Tell memory every session, in the order of the data."""
    for (scope, session), said in groupby(messages, lambda message: (message.scope, message.session)):
        all_said = list(said)
        start = SessionStart(session_id=session, scope=scope, agent="chat", at=all_said[0].at)
        await stage.call("session_start", start)
        for first in range(0, len(all_said), TOGETHER):
            some = tuple(_message(one) for one in all_said[first : first + TOGETHER])
            await stage.call("session_append", Append(session_id=session, messages=some))


def _message(said: Said) -> NewMessage:
    return NewMessage(
        id=said.key,
        role=Role.USER,
        author=said.author,
        parts=(TextPart(text=said.text),),
        at=said.at,
    )


async def ask(stage: MemoryStage, question: Question, ids: Mapping[UUID, str], depth: int) -> Reply:
    """One recall, inside the question's scope."""
    request = Recall(query=question.text, scopes=(question.scope,), kinds=(RecallKind.MESSAGE,), k=depth)
    begun = time.perf_counter()
    found = cast("RecallResult", await stage.call("recall", request))
    seconds = time.perf_counter() - begun
    return Reply(question, [ids[one.id] for one in found.results], found.sessions, seconds)


async def measure(data: Data, depth: int) -> tuple[list[Reply], dict[str, float]]:
    """Everything told, indexed and asked; the replies, and how long telling and indexing took."""
    ids = {message.key: message.id for message in data.messages}
    with temporary_folder("recall") as folder:
        async with memory_alone(folder) as stage:
            begun = time.monotonic()
            await ingest(stage, data.messages)
            told = time.monotonic()
            await stage.indexed()
            indexed = time.monotonic()
            harness.say(
                f"{len(data.messages)} messages told in {told - begun:.1f} s, indexed {indexed - told:.1f} s later"
            )
            replies = [await ask(stage, question, ids, depth) for question in data.questions]
            times = {"ingest_seconds": told - begun, "index_lag_seconds": indexed - told}
    return replies, times


def judged(data: Data, replies: Iterable[Reply]) -> list[Answered]:
    """Replies against their evidence, at message and at session level."""
    session_of = {(message.scope, message.id): message.session for message in data.messages}
    return [
        Answered(
            category=reply.question.category,
            ranked=reply.ranked,
            evidence=set(reply.question.evidence),
            ranked_sessions=reply.sessions,
            evidence_sessions={session_of.get((reply.question.scope, one), one) for one in reply.question.evidence},
        )
        for reply in replies
    ]


def figures(answers: Sequence[Answered], seconds: Sequence[float]) -> dict[str, float]:
    """The benchmark's figures."""
    return {
        "questions": len(answers),
        **scores(answers),
        "recall_p50": harness.percentile(seconds, 0.5),
        "recall_p95": harness.percentile(seconds, 0.95),
    }


def categories(answers: Iterable[Answered]) -> Table:
    """A row for each category."""
    table = Table("category", "questions", "R@5", "R@10", "NDCG@10", "MRR", "session R@5", "session R@10")
    shown = ("message_r5", "message_r10", "message_ndcg10", "message_mrr", "session_r5", "session_r10")
    for name, means in by_category(answers).items():
        table.add_row(name, f"{means['questions']:.0f}", *(f"{means[figure]:.3f}" for figure in shown))
    return table


def write_run(path: Path, replies: Iterable[Reply]) -> None:
    """A line for each question, with the ranked ids."""
    with path.open("w", encoding="utf-8") as lines:
        for reply in replies:
            line = {"scope": reply.question.scope, "id": reply.question.id, "ranked": list(reply.ranked)}
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell, ask, print; exit 2 for a file that cannot be read."""
    parser = harness.arguments(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("data", type=Path, metavar="DATA.jsonl")
    parser.add_argument("--run", type=Path, metavar="OUT.jsonl", help="write the ranked message ids there")
    parser.add_argument("--depth", type=int, default=100, metavar="N", help="messages asked for (default: 100)")
    given = parser.parse_args(arguments)
    try:
        data = read_data(given.data)
    except (OSError, BadInputError) as error:
        harness.say(str(error))
        return 2
    replies, times = asyncio.run(measure(data, given.depth))
    if given.run:
        write_run(given.run, replies)
    answers = judged(data, replies)
    harness.wide_console().print(categories(answers))
    return harness.finish("recall", figures(answers, [reply.seconds for reply in replies]) | times, given)


if __name__ == "__main__":
    sys.exit(main())
