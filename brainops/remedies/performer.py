"""Carries actions out on this host, and refuses what its configuration does not allow.

A workflow can be started by anybody who reaches the Temporal server, so nothing in an action is believed: the host
looks again whether the service, the file, the folder, the command and the kind of action are its own to touch.
"""

from collections.abc import Mapping
from pathlib import Path

from brainops.config.models import LOCAL_HOST, Service
from brainops.config.paths import StatePaths
from brainops.contracts.action import (
    Action,
    ActionRequest,
    ActionResult,
    CleanFolder,
    FreePort,
    MakeFolder,
    PutBackFiles,
    RestoreFiles,
    RunCommand,
)
from brainops.contracts.agent import ActionClass
from brainops.errors import ActionError, BadInputError, NotAllowedError, NotFoundError
from brainops.incidents.beating import Beat, beating
from brainops.incidents.ports import needed_ports
from brainops.remedies.base import Call, Handler, HostTools
from brainops.remedies.permission import is_permitted
from brainops.remedies.registry import handlers, remedies_using
from brainops.services.known_good import KnownGoodFiles
from brainops.services.process import ProcessAdapter
from brainops.storage.objects import ObjectStore

_LONGEST = 500


class ActionPerformer:
    """Performs actions on `host`.

    `services`: all that are configured. `directory`: the folder of `brainops.yaml`. `charter`: the action classes that
    the acting agent may ever take.
    """

    def __init__(
        self,
        adapter: ProcessAdapter,
        known_good: KnownGoodFiles,
        services: Mapping[str, Service],
        paths: StatePaths,
        directory: Path,
        *,
        objects: ObjectStore,
        charter: frozenset[ActionClass],
        host: str = LOCAL_HOST,
    ) -> None:
        self._services = services
        self._charter = charter
        self._host = host
        self._handlers = handlers(HostTools(adapter, known_good, objects, paths, directory.absolute(), services))

    def check(self, request: ActionRequest) -> None:
        """Refuse what charter or configuration forbid; whether it may be done now (autonomy, approval) is not asked.

        Raises NotAllowedError that names what is refused and where to change it; NotFoundError for a service that
        this host does not have.
        """
        action = request.action
        of_incident = self._service(request.service)
        acted_on = self._service(action.service)
        self._check_class(request, of_incident)
        if action.service != request.service:
            self._check_dependency(request, acted_on)
        _check_declared(action, acted_on)

    async def perform(self, request: ActionRequest, effect_key: str, beat: Beat) -> ActionResult:
        """Check, and carry the action out once under `effect_key`; `beat` is called meanwhile.

        An action that was done and failed is a result that is not `ok`. Raises NotAllowedError, NotFoundError and
        AmbiguousEffectError, which no repetition helps, and UnavailableError, which one can.
        """
        self.check(request)
        handler, call = self._handler(request.action), self._call(request, effect_key)
        try:
            return await beating(handler.perform(request.action, call), beat)
        except ActionError as error:
            return _failed(error)

    async def reconcile(self, request: ActionRequest, effect_key: str) -> ActionResult | None:
        """What became of an action that was begun under `effect_key`; None: it may be performed. Changes nothing.

        Raises AmbiguousEffectError when it cannot be told.
        """
        self.check(request)
        handler, call = self._handler(request.action), self._call(request, effect_key)
        try:
            return await handler.reconcile(request.action, call)
        except ActionError as error:
            return _failed(error)

    def _service(self, name: str) -> Service:
        service = self._services.get(name)
        if service is None:
            raise NotFoundError(f"there is no service {name} in the configuration of this host")
        if service.host != self._host:
            raise NotAllowedError(
                f"{name} is on host {service.host}, and this is {self._host}; change services.{name}.host"
            )
        return service

    def _check_class(self, request: ActionRequest, service: Service) -> None:
        """The class is in the charter, the action belongs to it, and the service permits a remedy that uses it."""
        if request.action_class not in self._charter:
            raise NotAllowedError(f"the charter of the agent has no action {request.action_class.value}")
        using = remedies_using(type(request.action), request.action_class)
        if not using:
            raise NotAllowedError(f"{request.action.kind} is no part of any {request.action_class.value} remedy")
        if isinstance(request.action, PutBackFiles) or _is_undo(request.action):
            if not request.undoing:
                raise NotAllowedError(f"{request.action.kind} is an undo, and this plan does not take anything back")
            return
        variant = f":{request.action.command}" if isinstance(request.action, RunCommand) else ""
        if not any(is_permitted(remedy.name + variant, service) for remedy in using):
            names = ", ".join(remedy.name for remedy in using)
            raise NotAllowedError(
                f"{request.service} does not permit {names}; change services.{request.service}.remedies"
            )

    def _check_dependency(self, request: ActionRequest, acted_on: Service) -> None:
        """Only what the incident's service depends on may be touched for it, and only where it lets itself be."""
        name = request.action.service
        if request.action_class is not ActionClass.RESTART_DEPENDENCY or name not in self._dependencies(
            request.service
        ):
            raise NotAllowedError(
                f"{name} may not be touched for {request.service}; "
                f"name it in services.{request.service}.depends_on if it belongs to it"
            )
        if not is_permitted("restart", acted_on):
            raise NotAllowedError(f"{name} does not permit restart; change services.{name}.remedies")

    def _dependencies(self, name: str) -> set[str]:
        found: set[str] = set()
        pending = [name]
        while pending:
            service = self._services.get(pending.pop())
            fresh = set(service.depends_on) - found if service is not None else set[str]()
            found |= fresh
            pending.extend(fresh)
        return found

    def _handler(self, action: Action) -> Handler[Action]:
        handler = self._handlers.get(type(action))
        if handler is None:
            raise BadInputError(f"nobody on this host can do {action.kind}; is its remedy installed here?")
        return handler

    def _call(self, request: ActionRequest, effect_key: str) -> Call:
        name = request.action.service
        return Call(service_name=name, service=self._service(name), effect_key=effect_key)


def _is_undo(action: Action) -> bool:
    return isinstance(action, RunCommand) and action.undoing


def _check_declared(action: Action, service: Service) -> None:
    """What the action names beside the service is declared for it."""
    name = action.service
    if isinstance(action, RestoreFiles):
        declared = {str(file.path) for file in service.files}
        _refuse_undeclared(set(action.paths) - declared, f"services.{name}.files")
    elif isinstance(action, CleanFolder | MakeFolder):
        folders = {str(folder.path) for folder in service.folders}
        _refuse_undeclared({action.path} - folders, f"services.{name}.folders")
    elif isinstance(action, RunCommand):
        _refuse_undeclared({action.command} - set(service.commands), f"services.{name}.commands")
    elif isinstance(action, FreePort):
        ports = {str(port) for port in needed_ports(service)}
        _refuse_undeclared({str(action.port)} - ports, f"services.{name}.ports")


def _refuse_undeclared(unknown: set[str], where: str) -> None:
    if unknown:
        raise NotAllowedError(f"{', '.join(sorted(unknown))[:200]} is not declared in {where}")


def _failed(error: ActionError) -> ActionResult:
    return ActionResult(ok=False, summary=str(error)[:_LONGEST])
