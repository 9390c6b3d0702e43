"""Disk that could be had back: declared logs, the machine's journal, images and build caches that nothing uses."""

import asyncio
import shutil
import stat
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path

from brainops.config.models import Service
from brainops.config.runs import ComposeRun, DockerRun
from brainops.contracts.incident import ReclaimableFacts
from brainops.errors import BrainOpsError
from brainops.services import container_images
from brainops.services.journal import Journal

_PART_SECONDS = 1.5

Facts = tuple[ReclaimableFacts, ...]


async def reclaimable(service: Service, directory: Path) -> Facts:
    """What of what the service declares could be had back on this machine, within the time that evidence has.

    `directory`: of `brainops.yaml`. A part that is not there or does not answer is left out.
    """
    parts = await asyncio.gather(
        _in_time(asyncio.to_thread(_logs, service, directory)), _in_time(_journal(service)), _in_time(_images(service))
    )
    return tuple(fact for part in parts for fact in part)


async def _in_time(part: Awaitable[Facts]) -> Facts:
    with suppress(TimeoutError, OSError, BrainOpsError):
        async with asyncio.timeout(_PART_SECONDS):
            return await part
    return ()


def _logs(service: Service, directory: Path) -> Facts:
    facts: list[ReclaimableFacts] = []
    for log in service.logs:
        try:
            found = (directory / log.path).stat()
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            facts.append(ReclaimableFacts(kind="log", path=str(log.path), bytes=found.st_size, target_bytes=log.limit))
    return tuple(facts)


async def _journal(service: Service) -> Facts:
    target = service.limits.journal
    if target is None or shutil.which("journalctl") is None:
        return ()
    size = await Journal("system").size_bytes()
    return (ReclaimableFacts(kind="journal", bytes=size, target_bytes=target),)


async def _images(service: Service) -> Facts:
    target = service.limits.disk
    if target is None:
        return ()
    endpoint = service.run.endpoint if isinstance(service.run, DockerRun | ComposeRun) else None
    return await container_images.reclaimable(endpoint, target)
