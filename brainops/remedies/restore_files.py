"""Put the last known good version of declared files back."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from brainops.config.models import Service
from brainops.contracts.action import ActionResult, PutBackFiles, RestartService, RestoreFiles
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence, FileCondition, FileFacts
from brainops.contracts.service import ServiceStatus
from brainops.incidents.signature import came_up, was_killed
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.remedies.declared import refuse_undeclared
from brainops.remedies.reading import not_running, words

_GONE = (FileCondition.MISSING, FileCondition.UNREADABLE)
_BROKEN_CONTENT = re.compile(
    r"pars(?:e|ing|er)|syntax|decod|yaml|json|toml|\binvalid|unexpected|malformed|corrupt|truncat|checksum|config"
    r"|\bEOF\b|end of (?:file|input)|not a database|unmarshal|deseriali|KeyError|missing (?:key|field)"
    r"|permission denied|EACCES|no such file|ENOENT|not executable",
    re.IGNORECASE,
)


class RestoreFilesHandler(Handler[RestoreFiles]):
    """Restores files; what stood there is kept under the effect key, for the undo."""

    action = RestoreFiles

    def authorize(self, action: RestoreFiles, call: Call, /) -> None:
        declared = (str(file.path) for file in call.service.files)
        refuse_undeclared(action.paths, declared, f"services.{action.service}.files")

    async def perform(self, action: RestoreFiles, call: Call, /) -> ActionResult:
        backup_key = _backup_key(call)
        restored = await self._tools.known_good.restore(action.service, call.service, action.paths, backup_key)
        return ActionResult(
            ok=True, summary=restored[:500], undo=PutBackFiles(service=action.service, backup_key=backup_key)
        )

    async def reconcile(self, _action: RestoreFiles, _call: Call, /) -> ActionResult | None:
        # the backup of a key is written once, before the first change: repeating the rest changes nothing more
        return None


class PutBackFilesHandler(Handler[PutBackFiles]):
    """Takes a restoring back."""

    action = PutBackFiles

    async def perform(self, action: PutBackFiles, call: Call, /) -> ActionResult:
        summary = await self._tools.known_good.put_back(action.service, call.service, action.backup_key)
        return ActionResult(ok=True, summary=summary[:500])

    async def reconcile(self, _action: PutBackFiles, _call: Call, /) -> ActionResult | None:
        # writes the same content again
        return None


def _backup_key(call: Call) -> str:
    return f"backups/{call.service_name}/{call.effect_key}"


class RestoreDeclaredFiles(Remedy):
    """Restore declared files that differ from the last known good ones, then restart."""

    name = "restore_files"
    action_class = ActionClass.RESTORE_FILES
    cost = 2
    rank = 70
    handlers = (RestoreFilesHandler, PutBackFilesHandler)
    uses = (RestoreFiles, RestartService, PutBackFiles)

    def propose(self, evidence: Evidence, _service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        broken = [file for file in evidence.files if file.condition in (FileCondition.CHANGED, *_GONE)]
        if not broken or evidence.state.status is ServiceStatus.STOPPED:
            return ()
        actions = (
            RestoreFiles(service=context.service, paths=tuple(file.path for file in broken)),
            RestartService(service=context.service),
        )
        return (self.candidate(actions, _cause(broken, evidence), explains=_explains(broken, evidence)),)


def _explains(broken: Sequence[FileFacts], evidence: Evidence) -> bool:
    """Whether the file is the cause. One that was merely changed may have been edited on purpose."""
    if any(file.condition in _GONE for file in broken):
        return True
    if not_running(evidence) and not was_killed(evidence) and (evidence.failed_starts >= 1 or not came_up(evidence)):
        return True
    if was_killed(evidence):  # what the log says has nothing to do with the signal
        return False
    text = words(evidence)
    return any(PurePath(file.path).name in text for file in broken) or (
        _BROKEN_CONTENT.search(evidence.log.error_line) is not None
    )


def _cause(broken: Sequence[FileFacts], evidence: Evidence) -> str:
    named = ", ".join(f"{file.path} is {file.condition.value}" for file in broken[:3])
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    said = f": {evidence.log.error_line}" if evidence.log.error_line else ""
    return f"{named}{more} beside the last known good version{said}"
