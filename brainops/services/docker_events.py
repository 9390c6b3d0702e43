"""Containers as the events of their engine tell of them: one stream for an engine, however many services it has.

What an event says is never believed beyond "look again": the container is inspected, once for a burst of events, and
everybody who waits is told. After a gap (the engine was restarted, or stuck) everything is looked at again, so that
nothing that happened meanwhile is overlooked.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from brainops.errors import BrainOpsError, UnavailableError
from brainops.services.container_engine import Engine, EngineRefusedError, EventStream, Raw, part
from brainops.services.container_facts import (
    PROJECT_LABEL,
    SERVICE_LABEL,
    Container,
    read_container,
    signal_number,
)
from brainops.telemetry.outage import Outage

EVENTS = (
    "create",
    "start",
    "restart",
    "die",
    "stop",
    "kill",
    "oom",
    "pause",
    "unpause",
    "rename",
    "destroy",
    "update",
    "health_status",
)
"""Those that change what is known of a container; the many of `docker exec`, by which health is asked, do not."""

KEPT_RUNS = 64
FIRST_LOOK_SECONDS = 10.0
SILENCE_SECONDS = 10.0
"""After so long without an event the engine is asked whether it still answers: once, for all its services."""
ANSWER_SECONDS = 10.0
_RETRY_SECONDS = (0.1, 5.0)
_SIGTERM = 15
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ByName:
    """The container of this name."""

    name: str

    def matches(self, event: Raw) -> bool:
        """Whether an event is about it, or about one that had its name."""
        attributes = _attributes(event)
        return self.name in (attributes.get("name"), str(attributes.get("oldName", "")).removeprefix("/"))


@dataclass(frozen=True)
class ByService:
    """All containers of a Compose service."""

    project: str
    service: str

    def matches(self, event: Raw) -> bool:
        """Whether an event is about one of them."""
        attributes = _attributes(event)
        return (attributes.get(PROJECT_LABEL), attributes.get(SERVICE_LABEL)) == (self.project, self.service)


Selector = ByName | ByService


def _attributes(event: Raw) -> Raw:
    return part(part(event, "Actor"), "Attributes")


@dataclass
class Life:
    """One run of a container, as events told of it."""

    container_id: str
    started_at: datetime
    ended_at: datetime | None = None
    exit_code: int = 0


@dataclass
class _Entry:
    """What is known of the containers of one selector."""

    containers: tuple[Container, ...] = ()
    fresh: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    asked_to_stop: set[str] = field(default_factory=set[str])
    """Ids of containers that somebody stops, or has stopped, through the engine."""
    out_of_memory: set[str] = field(default_factory=set[str])
    """Ids of containers whose limit was reached since their start. The engine's own flag misses those that die at once."""
    lives: deque[Life] = field(default_factory=lambda: deque[Life](maxlen=KEPT_RUNS))


class EngineWatch:
    """Follows one engine from the first question on, until it is closed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._entries: dict[Selector, _Entry] = {}
        self._stale: set[Selector] = set()
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()
        self._why_away = ""
        self._task: asyncio.Task[None] | None = None
        self._stream: EventStream | None = None
        self._outage = Outage()

    async def look(self, selector: Selector) -> tuple[Container, ...]:
        """The containers as they are now, from memory once they are known. Raises UnavailableError while nobody can tell."""
        entry = self._entry(selector)
        try:
            async with asyncio.timeout(FIRST_LOOK_SECONDS):
                while not entry.fresh and not self._why_away:
                    await entry.changed.wait()
        except TimeoutError:
            raise UnavailableError(
                f"the Docker engine at {self._engine.endpoint} does not tell; is it stuck?"
            ) from None
        if self._why_away:
            raise UnavailableError(self._why_away)
        return entry.containers

    async def look_again(self, selector: Selector) -> tuple[Container, ...]:
        """The containers as the engine says now, whatever events are still on their way. Raises UnavailableError."""
        self._entry(selector)
        await self._inspect(selector)
        return self._entries[selector].containers

    def next_change(self, selector: Selector) -> asyncio.Event:
        """Is set when anything of these containers changes, or the engine is lost or found again. Get it, then look."""
        return self._entry(selector).changed

    def asked_to_stop(self, selector: Selector, container_id: str) -> bool:
        """Whether its last end was asked of the engine by `docker stop` or the like; `docker kill` is none of these."""
        return container_id in self._entry(selector).asked_to_stop

    def out_of_memory(self, selector: Selector, container_id: str) -> bool:
        """Whether the limit on its memory was reached since its last start, as far as events told."""
        return container_id in self._entry(selector).out_of_memory

    def lives(self, selector: Selector) -> tuple[Life, ...]:
        """The runs that were seen to begin, oldest first."""
        return tuple(self._entry(selector).lives)

    async def close(self) -> None:
        """End the stream. A later question begins anew."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _entry(self, selector: Selector) -> _Entry:
        entry = self._entries.get(selector)
        if entry is None:
            entry = self._entries[selector] = _Entry()
            self._stale.add(selector)
            self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow_for_ever())
        return entry

    async def _follow_for_ever(self) -> None:
        pause = _RETRY_SECONDS[0]
        while True:
            try:
                await self._follow()
                pause = _RETRY_SECONDS[0]
            except BrainOpsError as error:
                self._lost(str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_SECONDS[1])

    async def _follow(self) -> None:
        """Until the stream ends. Raises UnavailableError when the engine cannot be reached."""
        filters: dict[str, list[str]] = {"type": ["container"], "event": list(EVENTS)}
        stream = await self._engine.call(lambda client: client.events(decode=True, filters=filters))
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        reader = threading.Thread(
            target=_read, args=(stream, loop, self._seen, ended), name="docker-events", daemon=True
        )
        reader.start()
        try:
            # the stream stands, so what is seen from now on is told: this look closes the gap before it
            self._stale = set(self._entries)
            while not ended.is_set():
                self._wake.clear()
                while self._stale:
                    await self._inspect(self._stale.pop())
                self._found()
                if not await self._woken(ended):  # silence may mean that nothing happens, or that it is stuck
                    await self._engine.call(lambda client: client.ping(), ANSWER_SECONDS)
        finally:
            with contextlib.suppress(OSError, AttributeError, ValueError):  # the SDK's, of a stream that has ended
                stream.close()
            await asyncio.to_thread(reader.join, 5.0)
        raise UnavailableError(f"the Docker engine at {self._engine.endpoint} has ended its stream of events")

    async def _woken(self, ended: asyncio.Event) -> bool:
        """Wait until there is something to look at, or the stream has ended. False: it was silent for long."""
        waiting = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(ended.wait())]
        try:
            done, _ = await asyncio.wait(waiting, timeout=SILENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            return bool(done)
        finally:
            for one in waiting:
                one.cancel()

    def _seen(self, event: Raw) -> None:
        for selector, entry in self._entries.items():
            if selector.matches(event):
                _note(entry, event)
                self._stale.add(selector)
                self._wake.set()

    async def _inspect(self, selector: Selector) -> None:
        async with self._looking:
            containers = await self._find(selector)
            entry = self._entries[selector]
            if entry.fresh and entry.containers == containers:
                return
            entry.containers, entry.fresh = containers, True
            entry.asked_to_stop &= {container.id for container in containers}
            entry.out_of_memory &= {container.id for container in containers}
            _tell(entry)

    async def _find(self, selector: Selector) -> tuple[Container, ...]:
        if isinstance(selector, ByName):
            found = await self._inspected(selector.name)
            # the engine also takes the beginning of an id for a name
            return (found,) if found is not None and found.name == selector.name else ()
        labels = [f"{PROJECT_LABEL}={selector.project}", f"{SERVICE_LABEL}={selector.service}"]
        listed = await self._engine.call(lambda client: client.containers(all=True, filters={"label": labels}))
        found_all = [await self._inspected(one["Id"]) for one in listed]
        return tuple(sorted((one for one in found_all if one is not None), key=lambda one: one.name))

    async def _inspected(self, container: str) -> Container | None:
        try:
            return read_container(await self._engine.call(lambda client: client.inspect_container(container)))
        except EngineRefusedError as refusal:
            if refusal.missing:
                return None
            raise UnavailableError(f"the Docker engine at {self._engine.endpoint} says: {refusal}") from None
        except ValueError as error:
            raise UnavailableError(f"the Docker engine's answer about {container} is not understood: {error}") from None

    def _lost(self, why: str) -> None:
        if self._outage.failed():
            _log.warning("containers are not seen: %s", why)
        self._why_away = why
        for entry in self._entries.values():
            entry.fresh = False
            _tell(entry)

    def _found(self) -> None:
        if self._why_away:
            self._why_away = ""
            for entry in self._entries.values():
                _tell(entry)
        if failures := self._outage.recovered():
            _log.info("containers are seen again after %d tries", failures)


def _read(
    stream: EventStream, loop: asyncio.AbstractEventLoop, seen: Callable[[Raw], None], ended: asyncio.Event
) -> None:
    """In a thread of its own: hand events over until the stream ends."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants them any more
        try:
            for event in stream:
                loop.call_soon_threadsafe(seen, event)
        except Exception as error:  # noqa: BLE001 - whatever the SDK makes of a broken stream, it has ended
            _log.info("the stream of Docker's events broke: %s", error)
        loop.call_soon_threadsafe(ended.set)


def _tell(entry: _Entry) -> None:
    changed, entry.changed = entry.changed, asyncio.Event()
    changed.set()


def _note(entry: _Entry, event: Raw) -> None:
    """What only the event itself tells: who asked for an end, and runs too short to be looked at."""
    container_id, attributes = str(part(event, "Actor").get("ID", "")), _attributes(event)
    at = datetime.fromtimestamp(int(event.get("timeNano", 0)) / 1e9, UTC)
    match event.get("Action"):
        case "start":
            entry.asked_to_stop.discard(container_id)
            entry.out_of_memory.discard(container_id)
            entry.lives.append(Life(container_id, at))
        case "kill":
            wanted = {known.stop_signal for known in entry.containers if known.id == container_id} or {_SIGTERM}
            if signal_number(str(attributes.get("signal", ""))) in wanted:
                entry.asked_to_stop.add(container_id)
        case "oom":
            entry.out_of_memory.add(container_id)
        case "die":
            life = next((one for one in reversed(entry.lives) if one.container_id == container_id), None)
            if life is not None and life.ended_at is None:
                life.ended_at, life.exit_code = at, int(attributes.get("exitCode", 0))
        case _:
            return
