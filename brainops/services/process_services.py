"""Services of kind `process`, through the port that every kind has."""

import asyncio
import os
import signal
from datetime import timedelta

from brainops.config.models import Service
from brainops.contracts.service import ProcessRecord, ServiceRun, ServiceState
from brainops.errors import ActionError
from brainops.services import pidfds, procfs
from brainops.services.adapter import ServiceAdapter
from brainops.services.process import ProcessAdapter
from brainops.services.procfs import Listener
from brainops.services.records import Start

_STARTS_LOOK_SECONDS = 0.1
_START_SEEN_WITHIN_SECONDS = 5.0


class ProcessServices(ServiceAdapter):
    """What `adapter` starts, ends and looks at, as services."""

    def __init__(self, adapter: ProcessAdapter) -> None:
        self.adapter = adapter
        self._news: dict[str, asyncio.Event] = {}

    async def start(self, name: str, service: Service, effect_key: str) -> ServiceRun:
        return _run(await self.adapter.start(name, service, effect_key))

    async def stop(self, name: str, service: Service) -> str:
        return await self.adapter.stop(name, service)

    async def reload(self, name: str, service: Service) -> str:
        wanted = service.process_run.reload
        if wanted is None:
            return await super().reload(name, service)
        run = self.adapter.running(name)
        process = run.find_alive() if run is not None else None
        descriptor = pidfds.open_exact(process.pid, process.start_ticks) if process is not None else None
        if process is None or descriptor is None:
            raise ActionError(f"{name} does not run, so it cannot reload; start it")
        try:
            pidfds.send(descriptor, process, signal.Signals[wanted])
        finally:
            os.close(descriptor)
        return f"sent {wanted} to process {process.pid}"

    async def happened(self, name: str, service: Service, effect_key: str) -> ServiceRun | None:
        record = await self.adapter.happened(name, effect_key)
        return _run(record) if record is not None else None

    async def state(self, name: str, service: Service, *, memory: bool = True) -> ServiceState:
        state = await self.adapter.state(name, service, memory=memory)
        return state.model_copy(update={"run": _run(state.process)}) if state.process is not None else state

    async def newest(self, name: str, service: Service) -> ServiceRun | None:
        run = self.adapter.newest(name)
        return _run(run) if run is not None else None

    async def ended(self, name: str, service: Service) -> None:
        await self.adapter.exited(name)

    async def started(self, name: str, service: Service, known: str) -> None:
        news = self._news.setdefault(name, asyncio.Event())
        try:
            async with asyncio.timeout(_START_SEEN_WITHIN_SECONDS):
                await news.wait()
            news.clear()
        except TimeoutError:  # a start may have been overlooked after a change of the clock
            return

    async def watch(self) -> None:
        """One look for all services, so that those that do not run cost nothing."""
        seen = self.adapter.last_start()
        while True:
            await asyncio.sleep(_STARTS_LOOK_SECONDS)
            if (newest := self.adapter.last_start()) != seen:
                seen = newest
                for news in self._news.values():
                    news.set()

    async def meant_to_end(self, name: str, service: Service) -> bool:
        return self.adapter.meant_to_end(name)

    async def starts(self, name: str, service: Service, within: timedelta) -> list[Start]:
        return await asyncio.to_thread(self.adapter.starts, name, within)

    async def tail(self, name: str, service: Service, max_bytes: int, *, since_start: bool = True) -> bytes:
        return await asyncio.to_thread(self.adapter.tail, name, max_bytes, since_start=since_start)

    async def owns(self, name: str, service: Service, holder: Listener) -> bool:
        run = self.adapter.running(name)
        if run is None:
            return False
        if holder.pid == run.pid or (holder.service, holder.effect_key) == (name, run.effect_key):
            return True
        # a process can overwrite its environment; its session and its parents stay
        return procfs.is_of(holder.pid, holder.start_ticks, run.pid)

    def was_started_here(self, holder: Listener) -> bool:
        """Whether this very BrainOps started it: another one on the machine marks its processes in the same way."""
        return bool(holder.service) and holder.effect_key in self.adapter.files(holder.service).effect_keys()

    async def keep_up(self, name: str, service: Service) -> None:
        await self.adapter.rotate_log(name)


def _run(record: ProcessRecord) -> ServiceRun:
    return ServiceRun(
        id=record.effect_key,
        started_at=record.started_at,
        pid=record.pid,
        age_seconds=procfs.age_seconds(record.start_ticks),
    )
