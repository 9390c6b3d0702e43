"""Rotate a declared log that is too long, or that stands on a full disk: compressed beside it, and begun anew.

The service holds the log open, so it is copied and cut rather than renamed, as `copytruncate` of logrotate does. What
is written in the moment between the last byte that is copied and the cut is lost.
"""

import asyncio
import fcntl
import gzip
import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from brainops.config.models import DeclaredLog, Service
from brainops.config.quantities import format_size
from brainops.contracts.action import ActionResult, RotateLog
from brainops.contracts.agent import ActionClass
from brainops.contracts.check import Reason
from brainops.contracts.incident import Candidate, Evidence, ReclaimableFacts
from brainops.errors import ActionError
from brainops.incidents.signature import failing_reasons
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.remedies.declared import refuse_undeclared
from brainops.remedies.reading import says_no_room

WORTH_BYTES = 1_000_000
"""A shorter log frees nothing that matters, however full the disk is."""

_CHUNK_BYTES = 2**20


class RotateLogHandler(Handler[RotateLog]):
    """Compresses a log and cuts it. The compressed ones are numbered, the newest is 1."""

    action = RotateLog

    def authorize(self, action: RotateLog, call: Call, /) -> None:
        declared = {str(log.path) for log in call.service.logs}
        refuse_undeclared({action.path}, declared, f"services.{action.service}.logs")

    async def perform(self, action: RotateLog, call: Call, /) -> ActionResult:
        declared = next(log for log in call.service.logs if str(log.path) == action.path)
        freed = await asyncio.to_thread(rotate, self._tools.directory / declared.path, declared.keep)
        summary = (
            f"compressed {format_size(freed)} of {action.path} and began it anew"
            if freed
            else f"{action.path} is empty"
        )
        return ActionResult(ok=True, summary=summary)

    async def reconcile(self, _action: RotateLog, _call: Call, /) -> ActionResult | None:
        # a log that was just rotated is short; rotating it once more keeps all that it holds
        return None


def rotate(path: Path, keep: int) -> int:
    """Compress what the log holds to `PATH.1.gz`, with its mode and owner, cut it, and keep `keep` such files.

    Answers with the bytes that it held. The log itself is never a symbolic link. Raises ActionError; then all that it
    held is still there.
    """
    temporary = path.with_name(f".{path.name}.brainops.gz")
    try:
        log = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ActionError(
            f"{path} cannot be rotated: {error.strerror}; a log is a plain file that we may write"
        ) from None
    try:
        status = os.fstat(log)
        if not stat.S_ISREG(status.st_mode):
            raise ActionError(f"{path} is no plain file, so it is not rotated")
        if status.st_size == 0:
            return 0
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before anything of another rotation is touched
        except BlockingIOError:
            raise ActionError(f"{path} is being rotated already") from None
        _remove(temporary)  # of a worker that died over it
        _remove(_numbered(path, keep))
        held = _compress(log, temporary, status)
        for number in range(keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                _numbered(path, number).rename(_numbered(path, number + 1))
        temporary.rename(_numbered(path, 1))
        os.ftruncate(log, 0)
    except OSError as error:
        _remove(temporary)
        raise ActionError(f"{path} cannot be rotated: {error.strerror}; it is as it was") from None
    finally:
        os.close(log)
    return held


def _compress(log: int, target: Path, like: os.stat_result) -> int:
    """Write all that stands in `log` to a new file; how much that was."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with os.fdopen(os.dup(log), "rb") as source, gzip.GzipFile(filename="", fileobj=file, mode="wb") as compressed:
            shutil.copyfileobj(source, compressed, _CHUNK_BYTES)
            held = source.tell()
        file.flush()
        if os.geteuid() == 0:
            os.fchown(descriptor, like.st_uid, like.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
        os.fsync(descriptor)
    return held


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}.gz")


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


class RotateLogs(Remedy):
    """Rotate declared logs that are over their limit, or, while the disk is full, all that are worth it."""

    name = "rotate_logs"
    action_class = ActionClass.CLEAN_LOGS
    cost = 1
    rank = 44
    handlers = (RotateLogHandler,)
    uses = (RotateLog,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        declared = {str(log.path): log for log in service.logs}
        full = Reason.DISK in failing_reasons(evidence) or says_no_room(evidence)
        facts = [fact for fact in evidence.reclaimable if fact.kind == "log" and fact.path in declared]
        long = [fact for fact in facts if _is_worth_it(fact, declared[fact.path], full=full)]
        if not long:
            return ()
        first = long[0]
        cause = f"{first.path} holds {format_size(first.bytes)}{', and the disk is full' if full else ''}"
        actions = [RotateLog(service=context.service, path=fact.path) for fact in long]
        return (self.candidate(actions, cause, explains=full, cost=None if full else 2),)


def _is_worth_it(fact: ReclaimableFacts, declared: DeclaredLog, *, full: bool) -> bool:
    return fact.bytes > declared.limit or (full and fact.bytes >= WORTH_BYTES)
