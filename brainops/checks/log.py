"""Log: how often a pattern comes, and error lines of kinds that were never there."""

import asyncio
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from brainops.checks.base import CheckProbe, ProbeTools, Subject
from brainops.checks.conditions import judge
from brainops.checks.log_kinds import KnownKinds
from brainops.checks.log_sources import (
    LOOK_LIMIT,
    FileSource,
    News,
    OutputSource,
    Source,
    TailSource,
    UnreadableError,
)
from brainops.checks.threads import PatientThreads, StuckError
from brainops.config.checks import LogCheck
from brainops.config.environment import declared_environment, expand_environment, secret_values
from brainops.config.models import Service
from brainops.config.patterns import compiled
from brainops.config.quantities import format_duration, format_size
from brainops.config.runs import CommandRun, ExternalRun, HostRun, ProcessRun
from brainops.contracts.check import ProbeResult, Reason
from brainops.errors import ConfigError
from brainops.telemetry.redaction import clean
from brainops.telemetry.templates import is_error_like, template

_LINE_LIMIT = 2000
"""Characters of a line that are looked at."""
_TEMPLATES_A_LOOK = 300
"""Error-like lines of one look of which the kind is told; the last ones of more."""
_BUCKETS = 600
"""Into which a window is divided: a line leaves it that much too late at most."""
_NEWEST_KEPT = 20
_SHOWN_LINE = 300

Verdict = tuple[Reason, str]
_GOOD: Verdict = (Reason.NONE, "")


@dataclass(frozen=True, slots=True)
class _Found:
    """What one look found."""

    lines: int
    matches: int
    last_match: str
    kinds: dict[str, str]
    """Template of each error-like line → the line, in order."""


@dataclass(slots=True)
class _Window:
    """Counts within the time before now, in buckets. Times are monotonic seconds."""

    seconds: float
    buckets: deque[tuple[int, int]] = field(default_factory=deque[tuple[int, int]])

    def add(self, now: float, count: int) -> None:
        bucket = int(now / self._width)
        if self.buckets and self.buckets[-1][0] == bucket:
            self.buckets[-1] = (bucket, self.buckets[-1][1] + count)
        elif count:
            self.buckets.append((bucket, count))

    def total(self, now: float) -> int:
        while self.buckets and self.buckets[0][0] * self._width <= now - self.seconds - self._width:
            self.buckets.popleft()
        return sum(count for _, count in self.buckets)

    @property
    def _width(self) -> float:
        return self.seconds / _BUCKETS


@dataclass(slots=True)
class _Watched:
    """One check's place in its log, and what is within its window."""

    source: Source | TailSource
    window: _Window
    kinds: KnownKinds | None
    run: str = ""
    begun: bool = False
    partial: bytes = b""
    last_match: str = ""
    new: OrderedDict[str, tuple[float, str]] = field(default_factory=OrderedDict[str, tuple[float, str]])
    """Kinds that are news: since when, and the line."""
    skipped: int = 0
    """Bytes that were too many for the last look."""
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class LogProbe(CheckProbe[LogCheck]):
    """Reads what is new in a log, at most 1 MiB a look, and counts."""

    check = LogCheck

    def __init__(self, tools: ProbeTools) -> None:
        super().__init__(tools)
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._threads = PatientThreads()

    async def look(self, subject: Subject, check: LogCheck, /) -> ProbeResult:
        begun = time.perf_counter()
        reason, detail = await self._judged(subject, check)
        latency_ms = (time.perf_counter() - begun) * 1000
        return ProbeResult(ok=reason is Reason.NONE, reason=reason, latency_ms=latency_ms, detail=detail[:500])

    async def close(self) -> None:
        for watched in self._watched.values():
            if isinstance(watched.source, FileSource):
                watched.source.close()

    async def _judged(self, subject: Subject, check: LogCheck) -> Verdict:
        if not subject.here:
            return Reason.ERROR, "its log cannot be seen from this host"
        timeout = check.timeout.total_seconds()
        try:
            async with asyncio.timeout(timeout):
                watched = self._watched.get(subject.key) or await self._begin(subject, check)
                async with watched.busy:
                    await self._catch_up(subject, check, watched, timeout)
        except StuckError as stuck:
            return Reason.TIMEOUT, f"the log {stuck}; is a network disk away?"
        except TimeoutError:
            return Reason.TIMEOUT, f"the log could not be read within {format_duration(check.timeout)}"
        except UnreadableError as error:
            return Reason.ERROR, str(error)
        return _verdict(check, watched, time.monotonic())

    async def _begin(self, subject: Subject, check: LogCheck) -> _Watched:
        source = self._source(subject, check)
        kinds = None
        if check.new_kinds:
            file = self._tools.services.paths.root / "log-kinds" / f"{subject.service_name}.{subject.check_name}.json"
            kinds = await asyncio.to_thread(KnownKinds, file)
        return self._watched.setdefault(subject.key, _Watched(source, _Window(check.within.total_seconds()), kinds))

    def _source(self, subject: Subject, check: LogCheck) -> Source | TailSource:
        name, run = subject.service_name, subject.service.run
        path = check.path or (run.log if isinstance(run, CommandRun) else None)
        if path is not None:
            return FileSource(self._tools.directory / path)
        if isinstance(run, ProcessRun):
            return OutputSource(self._tools.services.processes.adapter.files(name))
        if isinstance(run, ExternalRun | HostRun | CommandRun):
            raise UnreadableError(
                f"{name} has no output that BrainOps keeps; write services.{name}.checks.{subject.check_name}.path"
            )
        return TailSource(self._tools.services, name, subject.service)

    async def _catch_up(self, subject: Subject, check: LogCheck, watched: _Watched, timeout: float) -> None:
        """Read what is new and count it."""
        run = await self._tools.services.newest(subject.service_name, subject.service)
        if run is not None and run.id != watched.run:
            if watched.run:  # what an earlier run wrote says nothing of this one
                watched.window.buckets.clear()
                watched.new.clear()
            watched.run = run.id
        place = f"{subject.service_name}.{subject.check_name}"
        back = LOOK_LIMIT if watched.kinds is not None and watched.kinds.fresh and not watched.begun else 0
        news = await self._read(watched, back, place, timeout)
        history, watched.begun = back > 0, True
        watched.skipped = news.skipped
        secrets = secret_values(_environment(subject.service))
        found = await self._threads.call(f"{place} lines", lambda: _sift(news, watched, check, secrets), timeout)
        now = time.monotonic()
        if not history:
            watched.window.add(now, found.matches)
            watched.last_match = found.last_match or watched.last_match
        if watched.kinds is not None:
            known = watched.kinds
            new = await asyncio.to_thread(known.take, found.lines, list(found.kinds))
            for kind in () if history else new:
                watched.new[kind] = (now, found.kinds[kind])
            while len(watched.new) > _NEWEST_KEPT:
                watched.new.popitem(last=False)

    async def _read(self, watched: _Watched, back: int, place: str, timeout: float) -> News:
        source = watched.source
        if isinstance(source, TailSource):
            return await (source.news() if watched.begun else source.begin(back))
        work: Callable[[], News] = source.news if watched.begun else lambda: source.begin(back)
        return await self._threads.call(place, work, timeout)


def _sift(news: News, watched: _Watched, check: LogCheck, secrets: tuple[str, ...]) -> _Found:
    """The whole lines of what was read; an unfinished one waits for its end."""
    text = news.text if news.skipped else watched.partial + news.text
    whole, _, rest = text.rpartition(b"\n")
    watched.partial = rest[-_LINE_LIMIT * 4 :]
    lines = [line[: _LINE_LIMIT * 4] for line in whole.split(b"\n")] if whole else []
    pattern = compiled(check.pattern) if check.pattern is not None else None
    ignored = [compiled(one) for one in check.ignore]
    matches, last = 0, ""
    errors: deque[str] = deque(maxlen=_TEMPLATES_A_LOOK)
    for raw in lines:
        line = raw.decode("utf-8", "replace")[:_LINE_LIMIT].rstrip("\r")
        if any(one.search(line) for one in ignored):
            continue
        error_like = (pattern is None or watched.kinds is not None) and is_error_like(line)
        if error_like if pattern is None else pattern.search(line):
            matches, last = matches + 1, line
        if error_like and watched.kinds is not None:
            errors.append(line)
    kinds: dict[str, str] = {}
    for line in errors:
        shown = clean(line, _SHOWN_LINE, secrets)
        kinds[template(shown)] = shown
    return _Found(len(lines), matches, clean(last, _SHOWN_LINE, secrets), kinds)


def _verdict(check: LogCheck, watched: _Watched, now: float) -> Verdict:
    within = check.within.total_seconds()
    while watched.new and now - next(iter(watched.new.values()))[0] > within:
        watched.new.popitem(last=False)
    matches = watched.window.total(now)
    if watched.new and not any("[NEW_KINDS]" in condition for condition in check.conditions):
        _, (_, line) = next(reversed(watched.new.items()))
        others = f" (and {len(watched.new) - 1} more kinds)" if len(watched.new) > 1 else ""
        return Reason.NEW_LINES, f"an error of a kind that was not seen before{others}: {line}"
    nothing_named = check.max_matches is None and not check.new_kinds and not check.conditions
    allowed = 0 if nothing_named else check.max_matches
    if allowed is not None and matches > allowed:
        what = "lines match" if check.pattern is not None else "error lines"
        passed_over = f" ({format_size(watched.skipped)} more were passed over)" if watched.skipped else ""
        return Reason.LOG_RATE, (
            f"{matches} {what} within {format_duration(check.within)}, allowed {allowed}{passed_over}; "
            f"the last: {watched.last_match}"
        )
    reason, detail = judge(check.conditions, {"MATCHES": matches, "NEW_KINDS": len(watched.new)})
    if reason is not Reason.NONE:
        return reason, f"{detail}; the last line: {watched.last_match}"
    return _GOOD


def _environment(service: Service) -> dict[str, str]:
    try:
        return expand_environment(service, os.environ)
    except ConfigError:  # a variable is gone; what is written in the file is known all the same
        return declared_environment(service)
