"""Known good files: what a service's declared files held while it was proven to be healthy.

A version is proven by a process that read it: a file that was changed after the process began is not kept, however
healthy the service is. Contents, which may hold secrets, stand in the object store only.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter

from brainops.config.models import Service
from brainops.contracts.incident import FileCondition, FileFacts
from brainops.contracts.service import ProcessRecord, ServiceRun
from brainops.errors import ActionError, NotAllowedError, NotFoundError
from brainops.services.declared_files import KEPT_LIMIT, Before, Content, put_back, read_before, read_regular, replace
from brainops.services.known_good_store import KnownGoodFile, KnownGoodStore
from brainops.storage.objects import ObjectStore

_CLOCK_MARGIN = timedelta(milliseconds=20)
"""Times of files come from a coarser clock than the start of a process."""

_BACKUP = TypeAdapter(list[Before])


class KnownGoodFiles:
    """The declared files of the services of this host.

    `directory`: the folder of `brainops.yaml`, to which declared paths are relative. Only plain files are kept, up to
    8 MiB each: a folder or a symbolic link is never followed.
    """

    def __init__(self, store: KnownGoodStore, objects: ObjectStore, directory: Path) -> None:
        self._store = store
        self._objects = objects
        self._directory = directory.absolute()

    async def keep(self, name: str, service: Service, process: ProcessRecord | ServiceRun) -> tuple[str, ...]:
        """Keep what `process` has proven to be good; the declared paths of which a new version was kept."""
        kept: list[str] = []
        for declared in service.files:
            content = await asyncio.to_thread(_read_kept, self._directory / declared.path)
            proven_by = process.started_at - _CLOCK_MARGIN
            if content is None or datetime.fromtimestamp(content.changed_at, UTC) > proven_by:
                continue
            path = str(declared.path)
            if await self._keep_one(name, path, content, process):
                kept.append(path)
        return tuple(kept)

    async def compare(self, name: str, service: Service) -> tuple[FileFacts, ...]:
        """Each declared file beside its newest good version."""
        return tuple([await self._compare_one(name, str(declared.path)) for declared in service.files])

    async def restore(self, name: str, service: Service, paths: Iterable[str], backup_key: str) -> str:
        """Put the newest good versions back; what stands there is kept under `backup_key` first. Answers a sentence.

        Repeated with the same key, it restores again and leaves the first backup as it is. Raises ActionError when a
        file has no good version or cannot be replaced, NotAllowedError for a path that is not declared.
        """
        wanted = tuple(paths)
        self._check_declared(name, service, wanted)
        versions = {path: await self._version(name, path) for path in wanted}
        contents = {path: await self._content(version) for path, version in versions.items()}
        if not await self._objects.exists(backup_key):
            before = [await asyncio.to_thread(read_before, path, self._directory / path) for path in wanted]
            await self._objects.put(backup_key, _BACKUP.dump_json(before))
        for path, version in versions.items():
            await asyncio.to_thread(replace, self._directory / path, contents[path], version.mode)
        return "restored " + ", ".join(
            f"{path} as of {version.kept_at:%Y-%m-%d %H:%M:%S} UTC" for path, version in versions.items()
        )

    async def put_back(self, name: str, service: Service, backup_key: str) -> str:
        """Undo `restore`: what stood there stands there again, and what did not is removed. Answers a sentence.

        Raises NotFoundError when no such backup is kept, ActionError when a file cannot be replaced.
        """
        backup = _BACKUP.validate_json(await self._objects.get(backup_key))
        self._check_declared(name, service, [before.path for before in backup])
        for before in backup:
            await asyncio.to_thread(put_back, self._directory / before.path, before)
        return "put back " + ", ".join(before.path for before in backup)

    async def _keep_one(self, name: str, path: str, content: Content, process: ProcessRecord | ServiceRun) -> bool:
        newest = await self._store.newest(name, path)
        if newest is not None and (newest.sha256, newest.mode) == (content.sha256, content.mode):
            return False
        place = hashlib.sha256(path.encode()).hexdigest()[:16]
        key = f"known-good/{name}/{place}/{content.sha256}"
        await self._objects.put(key, content.data)
        await self._store.save(
            KnownGoodFile(
                service=name,
                path=path,
                sha256=content.sha256,
                object_key=key,
                mode=content.mode,
                size=len(content.data),
                kept_at=datetime.now(UTC),
                process_started_at=process.started_at,
            )
        )
        for forgotten in await self._store.prune(name, path):
            await self._objects.delete(forgotten)
        return True

    async def _compare_one(self, name: str, path: str) -> FileFacts:
        good = await self._store.newest(name, path)
        condition, detail = await asyncio.to_thread(_compare, self._directory / path, good)
        return FileFacts(path=path, condition=condition, detail=detail[:500])

    async def _version(self, name: str, path: str) -> KnownGoodFile:
        version = await self._store.newest(name, path)
        if version is None:
            raise ActionError(f"no good version of {path} was kept: {name} was never healthy for long enough with it")
        return version

    async def _content(self, version: KnownGoodFile) -> bytes:
        try:
            data = await self._objects.get(version.object_key)
        except NotFoundError as error:
            raise ActionError(f"the good version of {version.path} is lost from the object store: {error}") from error
        if hashlib.sha256(data).hexdigest() != version.sha256:
            raise ActionError(f"the good version of {version.path} is damaged in the object store; nothing is restored")
        return data

    def _check_declared(self, name: str, service: Service, paths: Iterable[str]) -> None:
        declared = {str(file.path) for file in service.files}
        if unknown := sorted(set(paths) - declared):
            raise NotAllowedError(f"{', '.join(unknown)[:200]} is no declared file of {name}")


def _read_kept(path: Path) -> Content | None:
    try:
        return read_regular(path, KEPT_LIMIT)
    except OSError:  # missing, a link, not readable: nothing that could be kept
        return None


def _compare(path: Path, good: KnownGoodFile | None) -> tuple[FileCondition, str]:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        condition, detail = FileCondition.MISSING, "it does not exist"
    except OSError as error:
        condition, detail = FileCondition.UNREADABLE, str(error.strerror)
    else:
        if good is None:
            return FileCondition.UNKEPT, _why_unkept(status)
        condition, detail = _beside(path, status, good)
    return (condition if good is not None else FileCondition.UNKEPT), detail


def _beside(path: Path, status: os.stat_result, good: KnownGoodFile) -> tuple[FileCondition, str]:
    """What exists at `path`, beside its good version."""
    since = f"since {datetime.fromtimestamp(status.st_ctime, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if not stat.S_ISREG(status.st_mode):
        return FileCondition.CHANGED, f"it is no plain file any more, {since}"
    if status.st_size != good.size:
        return FileCondition.CHANGED, f"{status.st_size} bytes instead of {good.size}, {since}"
    try:
        content = read_regular(path, KEPT_LIMIT)
    except OSError as error:
        return FileCondition.UNREADABLE, f"{error.strerror}, {since}"
    if content is None or content.sha256 != good.sha256:
        return FileCondition.CHANGED, f"other content, {since}"
    if content.mode != good.mode:
        return FileCondition.CHANGED, f"mode {content.mode:04o} instead of {good.mode:04o}, {since}"
    return FileCondition.SAME, ""


def _why_unkept(status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):
        return "it is a folder: declare the files in it"
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link: declare the file that it names"
    if status.st_size > KEPT_LIMIT:
        return f"it is larger than {KEPT_LIMIT // 2**20} MiB"
    return ""
