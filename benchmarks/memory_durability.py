"""What memory loses when it is killed: `python benchmarks/memory_durability.py --kills 200 --check`.

20 sessions append messages and stream others, piece by piece, through the API of `brainops up --only memory`, while the
API and Postgres get kill -9 in turn. A writer that gets no answer sends the same again, as every client should. At the
end each session is read back and compared with what its writer was promised: every message that was acknowledged, once,
whole, in its place. Of a text in the making, what was told and is gone must be younger than 5 s.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from rich.table import Table

from benchmarks import harness
from benchmarks.memory_stage import MemoryStage, memory_alone
from brainops.contracts import memory as m
from brainops.contracts.base import Contract
from brainops.contracts.message import MessageStatus, Role, StoredMessage, TextPart
from brainops.errors import ConflictError, UnavailableError
from interfaces.demo.stage import temporary_folder
from workers.stack.stack import API, POSTGRES

PARTS = (API, POSTGRES)
SCOPE = "kills"
PIECE_SECONDS = 0.3
LONG_PAUSE_SHARE = 0.25
LONG_PAUSE_SECONDS = (4.0, 7.0)
SHORT_PAUSE_SECONDS = (0.0, 1.0)
READY_SECONDS = 90.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Kill:
    """One kill, and how long memory did not answer."""

    what: str
    at: float
    away_seconds: float


@dataclass
class Kills:
    """Shared by the killer and the writers."""

    of_api: list[float] = field(default_factory=list[float])
    """When the API was killed, in order."""
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Promised:
    """A message that was acknowledged."""

    id: UUID
    seq: int
    text: str


@dataclass
class Verdict:
    """What the checker found, a sentence each, and the age of the oldest lost piece of a text in the making."""

    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    out_of_order: list[str] = field(default_factory=list[str])
    oldest_lost_partial: float = 0.0
    acknowledged: int = 0
    streamed: int = 0
    repeated_pieces: int = 0
    """Streamed messages of which something had to be told again."""


class Writer:
    """One session, and what it was promised."""

    def __init__(self, stage: MemoryStage, kills: Kills, number: int, seed: int) -> None:
        self.session_id = f"writer-{number}"
        self.promised: list[Promised] = []
        self.streamed = 0
        self.lost_ages: list[float] = []
        self._stage = stage
        self._kills = kills
        self._chance = random.Random(f"{seed}/{number}")
        self._count = 0
        self._sent_at = 0.0

    async def run(self) -> None:
        """Write until the kills are over."""
        await self._surely("session_start", m.SessionStart(session_id=self.session_id, scope=SCOPE))
        while not self._kills.over.is_set():
            for _ in range(self._chance.randint(3, 20)):
                await self._append(self._chance.randint(1, 3))
            await self._stream(self._chance.randint(5, 40))

    async def read_back(self) -> list[StoredMessage]:
        """All that the session has, in order."""
        found: list[StoredMessage] = []
        before: str | None = None
        while True:
            asked = m.Messages(session_id=self.session_id, limit=500, before=before)
            page: m.MessagePage = await self._stage.call("session_messages", asked)
            found = [*page.messages, *found]
            if page.before is None:
                return found
            before = page.before

    async def _append(self, count: int) -> None:
        texts = [self._next() for _ in range(count)]
        messages = tuple(m.NewMessage(id=uuid4(), role=Role.USER, parts=(TextPart(text=text),)) for text in texts)
        answer: m.Appended = await self._surely(
            "session_append", m.Append(session_id=self.session_id, messages=messages)
        )
        self.promised += [Promised(*one) for one in zip(answer.ids, answer.seqs, texts, strict=True)]

    async def _stream(self, pieces: int) -> None:
        """Tell a message piece by piece; what is gone after a kill is told again."""
        message_id = uuid4()
        told, seq = "", 0
        acknowledged: list[tuple[int, float]] = []  # characters in all, and when what was acknowledged was sent
        for number in range(pieces):
            piece = f"{self._next()} " if number == 0 else f"and piece {number} of it "
            while True:
                request = m.StreamText(session_id=self.session_id, message_id=message_id, text=piece, offset=len(told))
                try:
                    answer: m.Appended = await self._surely("session_stream", request)
                    seq = answer.seqs[0]
                except ConflictError:
                    kept = await self._kept(message_id)
                    self._note_lost(kept, acknowledged)
                    piece = told[kept:] + piece
                    told = told[:kept]
                    continue
                break
            told += piece
            acknowledged.append((len(told), self._sent_at))
            await asyncio.sleep(PIECE_SECONDS)
            if self._kills.over.is_set():
                break
        await self._end(message_id, told, acknowledged)
        self.promised.append(Promised(message_id, seq, told))
        self.streamed += 1

    async def _end(self, message_id: UUID, told: str, acknowledged: list[tuple[int, float]]) -> None:
        """Complete a message of which all of `told` must be there."""
        while True:
            end = m.StreamEnd(session_id=self.session_id, message_id=message_id, offset=len(told))
            try:
                await self._surely("session_stream_end", end)
            except ConflictError:
                kept = await self._kept(message_id)
                self._note_lost(kept, acknowledged)
                again = m.StreamText(session_id=self.session_id, message_id=message_id, text=told[kept:], offset=kept)
                await self._surely("session_stream", again)
                acknowledged.append((len(told), self._sent_at))
            else:
                return

    async def _kept(self, message_id: UUID) -> int:
        """Characters of a message in the making that memory has."""
        fetched: m.Fetched = await self._surely("fetch", m.Fetch(ids=(message_id,)))
        return len(fetched.messages[0].text)

    def _note_lost(self, kept: int, acknowledged: list[tuple[int, float]]) -> None:
        """What is gone went with the first kill of the API after it was sent: what was saved by then stays."""
        ages = [0.0]
        for characters, moment in acknowledged:
            killed = next((killed for killed in self._kills.of_api if killed > moment), None)
            if characters > kept and killed is not None:
                ages.append(killed - moment)
        self.lost_ages.append(max(ages))
        acknowledged[:] = [one for one in acknowledged if one[0] <= kept]

    async def _surely(self, name: str, request: Contract) -> Any:  # the answer's type follows from the call
        """Call until there is an answer; the same again changes nothing."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            self._sent_at = time.monotonic()
            try:
                return await self._stage.call(name, request)
            except UnavailableError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_SECONDS)

    def _next(self) -> str:
        self._count += 1
        return f"{self.session_id} says its word number {self._count}"


async def measure(given: argparse.Namespace) -> tuple[list[Kill], Verdict]:
    """Kill `given.kills` times while the writers write, and check what is left."""
    chance = random.Random(given.seed)
    with temporary_folder("memory-durability") as folder:
        async with memory_alone(folder) as stage:
            shared = Kills()
            writers = [Writer(stage, shared, number, given.seed) for number in range(given.sessions)]
            async with asyncio.TaskGroup() as group:
                for writer in writers:
                    group.create_task(writer.run())
                kills = [await kill(stage, shared, PARTS[n % len(PARTS)], chance) for n in range(given.kills)]
                shared.over.set()
            verdict = Verdict()
            for writer in writers:
                check(writer, await writer.read_back(), verdict)
            return kills, verdict


async def kill(stage: MemoryStage, shared: Kills, part: str, chance: random.Random) -> Kill:
    """Kill a part after a pause, and wait until memory answers again."""
    low, high = LONG_PAUSE_SECONDS if chance.random() < LONG_PAUSE_SHARE else SHORT_PAUSE_SECONDS
    await asyncio.sleep(chance.uniform(low, high))
    pid = stage.stack.pid_of(part)
    if pid is None:
        raise RuntimeError(f"{part} does not run")
    moment = time.monotonic()
    if part == API:
        shared.of_api.append(moment)
    os.kill(pid, signal.SIGKILL)
    while True:
        try:
            await stage.call("session_list", m.ListSessions(limit=1))
            if stage.stack.pid_of(part) not in {None, pid}:
                break
        except UnavailableError:
            if time.monotonic() - moment > READY_SECONDS:
                raise
        await asyncio.sleep(POLL_SECONDS)
    away = time.monotonic() - moment
    harness.say(f"{part} killed, memory answers again after {away:.2f} s")
    return Kill(part, moment, away)


def check(writer: Writer, stored: Sequence[StoredMessage], verdict: Verdict) -> None:
    """Compare what a session has with what its writer was promised."""
    name = writer.session_id
    places = {message.id: place for place, message in enumerate(stored)}
    for promised in writer.promised:
        place = places.get(promised.id)
        if place is None:
            verdict.lost.append(f"{name}: message {promised.seq} is gone")
        elif stored[place].text != promised.text:
            verdict.lost.append(f"{name}: message {promised.seq} is not whole")
        elif stored[place].seq != promised.seq or stored[place].status is not MessageStatus.COMPLETE:
            verdict.out_of_order.append(f"{name}: message {promised.seq} is {stored[place].seq}")
    texts = Counter(message.text for message in stored)
    verdict.doubled += [f"{name}: {text[:60]!r} is there {count} times" for text, count in texts.items() if count > 1]
    promised_ids = {promised.id for promised in writer.promised}
    verdict.doubled += [f"{name}: {one.seq} was never promised" for one in stored if one.id not in promised_ids]
    seqs = [message.seq for message in stored]
    if seqs != list(range(1, len(stored) + 1)):
        verdict.out_of_order.append(f"{name}: the places have gaps or turns")
    told = [places[promised.id] for promised in writer.promised if promised.id in places]
    if told != sorted(told):
        verdict.out_of_order.append(f"{name}: messages stand in another order than they were told")
    verdict.acknowledged += len(writer.promised)
    verdict.streamed += writer.streamed
    verdict.repeated_pieces += len(writer.lost_ages)
    verdict.oldest_lost_partial = max([verdict.oldest_lost_partial, *writer.lost_ages])


def figures(kills: Sequence[Kill], verdict: Verdict) -> dict[str, float]:
    """The benchmark's figures."""
    away = [kill.away_seconds for kill in kills]
    return {
        "kills": len(kills),
        "acknowledged": verdict.acknowledged,
        "streamed": verdict.streamed,
        "lost_messages": len(verdict.lost),
        "doubled_messages": len(verdict.doubled),
        "out_of_order": len(verdict.out_of_order),
        "streams_told_again": verdict.repeated_pieces,
        "oldest_lost_partial_seconds": verdict.oldest_lost_partial,
        "away_p50": harness.percentile(away, 0.5),
        "away_p95": harness.percentile(away, 0.95),
    }


def by_part(kills: Sequence[Kill]) -> Table:
    """A row for each part that was killed."""
    table = Table("killed", "times", "away p50", "away p95", "worst")
    for part in PARTS:
        away = [kill.away_seconds for kill in kills if kill.what == part]
        if away:
            shown = (harness.percentile(away, 0.5), harness.percentile(away, 0.95), max(away))
            table.add_row(part, str(len(away)), *(f"{value:.2f} s" for value in shown))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, check, print. Returns the exit code."""
    parser = harness.arguments(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=200, metavar="N")
    parser.add_argument("--sessions", type=int, default=20, metavar="N", help="that write meanwhile (default: 20)")
    given = parser.parse_args(arguments)
    begun = time.monotonic()
    kills, verdict = asyncio.run(measure(given))
    harness.say(f"{len(kills)} kills in {time.monotonic() - begun:.0f} s")
    console = harness.wide_console()
    console.print(by_part(kills))
    for line in (*verdict.lost, *verdict.doubled, *verdict.out_of_order):
        console.print(line, style="red", markup=False, soft_wrap=True)
    return harness.finish("memory_durability", figures(kills, verdict), given)


if __name__ == "__main__":
    sys.exit(main())
