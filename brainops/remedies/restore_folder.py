"""Make a declared folder that is missing."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from brainops.config.models import Service
from brainops.contracts.action import ActionResult, MakeFolder, RestartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence
from brainops.contracts.service import ServiceStatus
from brainops.errors import ActionError
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.remedies.declared import refuse_undeclared
from brainops.remedies.reading import not_running


class MakeFolderHandler(Handler[MakeFolder]):
    """Makes the folder and what is missing above it. One that exists is left as it is."""

    action = MakeFolder

    def authorize(self, action: MakeFolder, call: Call, /) -> None:
        declared = (str(folder.path) for folder in call.service.folders)
        refuse_undeclared((action.path,), declared, f"services.{action.service}.folders")

    async def perform(self, action: MakeFolder, _call: Call, /) -> ActionResult:
        await asyncio.to_thread(_make, self._tools.directory / action.path)
        return ActionResult(ok=True, summary=f"made the folder {action.path}")

    async def reconcile(self, action: MakeFolder, _call: Call, /) -> ActionResult | None:
        if not (self._tools.directory / action.path).is_dir():
            return None
        return ActionResult(ok=True, summary=f"the folder {action.path} exists")


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ActionError(f"{path} is not a folder: move the file that stands there away") from None
    except OSError as error:
        raise ActionError(f"cannot make the folder {path}: {error.strerror}") from None


class RestoreFolder(Remedy):
    """Make missing declared folders; start the service if it has ended without them."""

    name = "restore_folder"
    action_class = ActionClass.RESTORE_FILES
    cost = 0
    rank = 40
    handlers = (MakeFolderHandler,)
    uses = (MakeFolder, RestartService)

    def propose(self, evidence: Evidence, _service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        missing = [folder.path for folder in evidence.folders if not folder.exists]
        if not missing or evidence.state.status is ServiceStatus.STOPPED:
            return ()
        actions: list[MakeFolder | RestartService] = [
            MakeFolder(service=context.service, path=path) for path in missing
        ]
        if not_running(evidence):
            actions.append(RestartService(service=context.service))
        cause = f"the declared folder {missing[0]} is missing"
        return (self.candidate(actions, cause, explains=True),)
