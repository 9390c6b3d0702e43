"""Clean a declared folder: the files that may be deleted, oldest first, until it is at its target."""

import asyncio
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from brainops.config.models import DeclaredFolder, Service
from brainops.config.quantities import format_size
from brainops.contracts.action import ActionResult, CleanFolder, RestartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence, FolderFacts
from brainops.errors import ActionError, NotAllowedError
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.remedies.declared import refuse_undeclared
from brainops.remedies.reading import not_running, says_no_room

_NEARLY_FULL = 0.8
"""A service that refuses what would take a folder over its limit leaves it somewhat below."""

_MAX_ENTRIES = 2_000_000
"""Files of a folder that are considered at most; the rest is for the next time."""


@dataclass(frozen=True, order=True)
class _File:
    """A regular file, ordered by age, oldest first."""

    modified_ns: int
    parts: tuple[str, ...]
    size: int


class CleanFolderHandler(Handler[CleanFolder]):
    """Deletes files. Repeating it does no more than the target asks for."""

    action = CleanFolder

    def authorize(self, action: CleanFolder, call: Call, /) -> None:
        declared = (str(folder.path) for folder in call.service.folders)
        refuse_undeclared((action.path,), declared, f"services.{action.service}.folders")

    async def perform(self, action: CleanFolder, call: Call, /) -> ActionResult:
        declared = next((folder for folder in call.service.folders if str(folder.path) == action.path), None)
        if declared is None or not declared.clean:
            raise NotAllowedError(
                f"nothing in {action.path} may be deleted; declare it under services.{action.service}.folders "
                "with the globs in `clean`"
            )
        kept = {
            (self._tools.directory / file.path).resolve()
            for service in self._tools.services.values()
            for file in service.files
        }
        summary = await asyncio.to_thread(clean_folder, self._tools.directory / declared.path, declared, kept)
        return ActionResult(ok=True, summary=summary)

    async def reconcile(self, _action: CleanFolder, _call: Call, /) -> ActionResult | None:
        # cleaning stops at the target, whoever began it
        return None


def clean_folder(path: Path, declared: DeclaredFolder, kept: set[Path]) -> str:
    """Delete files of the folder until it holds no more than its target; answers with a sentence.

    Only regular files inside the folder that match one of its globs, and none of `kept`. Symbolic links are neither
    followed nor deleted, also when they are put there meanwhile. Raises ActionError when the folder cannot be read.
    """
    root = path.resolve()
    patterns = [_compiled(glob) for glob in declared.clean]
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ActionError(f"cannot clean {path}: {error.strerror}") from None
    deleted = freed = 0
    try:
        files = list(_files(descriptor))
        held = sum(file.size for file in files)
        for file in sorted(file for file in files if _matches(file, patterns)):
            if held - freed <= declared.target_bytes:
                break
            if root.joinpath(*file.parts) not in kept and _delete(descriptor, file):
                deleted += 1
                freed += file.size
    finally:
        os.close(descriptor)
    short = "" if held - freed <= declared.target_bytes else "; nothing more may be deleted"
    return f"deleted {deleted} file{'' if deleted == 1 else 's'}, {format_size(freed)}, of {declared.path}{short}"


def _files(root: int) -> Iterator[_File]:
    """Regular files under an open folder, links neither followed nor given."""
    count = 0
    for folder, _, names, descriptor in os.fwalk(".", dir_fd=root, follow_symlinks=False):
        parents = Path(folder).parts
        for name in names:
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except OSError:  # deleted meanwhile
                continue
            if stat.S_ISREG(found.st_mode):
                yield _File(found.st_mtime_ns, (*parents, name), found.st_size)
                count += 1
                if count >= _MAX_ENTRIES:
                    return


def _matches(file: _File, patterns: Sequence[re.Pattern[str]]) -> bool:
    path = "/".join(file.parts)
    return any(pattern.fullmatch(path) for pattern in patterns)


def _compiled(glob: str) -> re.Pattern[str]:
    """A glob as `.gitignore` has them: without `/` for names at any depth, else for the whole path inside the folder.

    `*` and `?` stay inside one name, `**` crosses folders.
    """
    anchored = "/" in glob.strip("/")
    expression = "" if anchored else "(?:.*/)?"
    for piece in re.findall(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|.", glob.strip("/"), re.DOTALL):
        match piece:
            case "**/":
                expression += "(?:.*/)?"
            case "**":
                expression += ".*"
            case "*":
                expression += "[^/]*"
            case "?":
                expression += "[^/]"
            case _ if len(piece) > 1:
                expression += (
                    "["
                    + ("^" if piece[1] == "!" else "")
                    + re.escape(piece[1:-1].lstrip("!")).replace(r"\-", "-")
                    + "]"
                )
            case _:
                expression += re.escape(piece)
    return re.compile(expression, re.DOTALL)


def _delete(root: int, file: _File) -> bool:
    """Delete one file through folders that are opened one by one, none of them a link. Whether it was deleted."""
    opened: list[int] = []
    try:
        folder = root
        for part in file.parts[:-1]:
            folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            opened.append(folder)
        found = os.stat(file.parts[-1], dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            return False
        os.unlink(file.parts[-1], dir_fd=folder)
    except OSError:  # gone, swapped or not ours: the next oldest is tried
        return False
    else:
        return True
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _is_full(folder: FolderFacts, *, no_room: bool) -> bool:
    """Whether it is over its limit; near it is enough where the service says that it has no room left."""
    if folder.over_limit:
        return True
    return no_room and folder.limit_bytes is not None and folder.bytes >= _NEARLY_FULL * folder.limit_bytes


class CleanFullFolder(Remedy):
    """Clean declared folders that hold more than their limit; start the service if it has ended."""

    name = "clean_folder"
    action_class = ActionClass.CLEAN_FOLDER
    cost = 2
    rank = 50
    handlers = (CleanFolderHandler,)
    uses = (CleanFolder, RestartService)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        cleanable = {str(folder.path) for folder in service.folders if folder.clean}
        no_room = says_no_room(evidence)
        full = [folder for folder in evidence.folders if folder.path in cleanable and _is_full(folder, no_room=no_room)]
        if not full:
            return ()
        actions: list[CleanFolder | RestartService] = [
            CleanFolder(service=context.service, path=folder.path) for folder in full
        ]
        if not_running(evidence):
            actions.append(RestartService(service=context.service))
        first = full[0]
        cause = f"{first.path} holds {format_size(first.bytes)} and may hold {format_size(first.limit_bytes or 0)}"
        return (self.candidate(actions, cause, explains=True),)
