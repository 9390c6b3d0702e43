"""Carries actions out on this host, and refuses what its configuration does not allow.

A workflow can be started by anybody who reaches the Temporal server, so nothing in an action is believed: the host
looks again whether the service, the file, the folder, the command and the kind of action are its own to touch.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import structlog

from brainops.config.models import LOCAL_HOST, Service
from brainops.config.paths import StatePaths
from brainops.contracts.action import (
    Action,
    ActionRequest,
    ActionResult,
    PluginAction,
    PutBackContainer,
    PutBackFiles,
    RunCommand,
)
from brainops.contracts.agent import ActionClass
from brainops.errors import (
    ActionError,
    AmbiguousEffectError,
    BadInputError,
    BrainOpsError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)
from brainops.incidents.beating import Beat, beating
from brainops.incidents.neighbours import is_neighbour
from brainops.remedies.base import Call, Handler, HostTools
from brainops.remedies.permission import is_permitted
from brainops.remedies.registry import handlers, remedies_using
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.storage.objects import ObjectStore
from brainops.telemetry.redaction import clean

PATIENCE_SECONDS = 30.0
"""For so long an action is tried again while what it needs does not answer. Then people must know of it."""

_LONGEST = 500
_PAUSES = (0.1, 2.0)

ResultT = TypeVar("ResultT")

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class ActionPerformer:
    """Performs actions on `host`.

    `services`: all that are configured. `directory`: the folder of `brainops.yaml`. `charter`: the action classes that
    the acting agent may ever take. `patience_seconds`: see `PATIENCE_SECONDS`.
    """

    def __init__(
        self,
        services_here: HostServices,
        known_good: KnownGoodFiles,
        services: Mapping[str, Service],
        paths: StatePaths,
        directory: Path,
        *,
        objects: ObjectStore,
        charter: frozenset[ActionClass],
        host: str = LOCAL_HOST,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._services = services
        self._patience = patience_seconds
        self._charter = charter
        self._host = host
        self._handlers = handlers(HostTools(services_here, known_good, objects, paths, directory.absolute(), services))

    def check(self, request: ActionRequest) -> None:
        """Refuse what charter or configuration forbid; whether it may be done now (autonomy, approval) is not asked.

        Raises NotAllowedError that names what is refused and where to change it; NotFoundError for a service that
        this host does not have.
        """
        action = request.action
        of_incident = self._service(request.service)
        acted_on = self._service(action.service)
        self._check_class(request, of_incident)
        if action.service != request.service or request.action_class is ActionClass.QUIET_NEIGHBOUR:
            self._check_dependency(request, acted_on)
        self._handler(action).authorize(action, self._call(request, ""))

    async def perform(self, request: ActionRequest, effect_key: str, beat: Beat) -> ActionResult:
        """Check, and carry the action out once under `effect_key`; `beat` is called meanwhile.

        An action that was done and failed is a result that is not `ok`, and so is one that could not be done because
        what it needs did not answer, however often it was tried: nobody would learn of a plan that waits for ever.
        Raises NotAllowedError, NotFoundError and AmbiguousEffectError, which no repetition helps.
        """
        self.check(request)
        handler, call = self._handler(request.action), self._call(request, effect_key)
        try:
            return await beating(self._patiently(lambda: handler.perform(request.action, call)), beat)
        except (ActionError, UnavailableError) as error:
            return _failed(error)

    async def reconcile(self, request: ActionRequest, effect_key: str) -> ActionResult | None:
        """What became of an action that was begun under `effect_key`; None: it may be performed. Changes nothing.

        Raises AmbiguousEffectError when it cannot be told.
        """
        self.check(request)
        handler, call = self._handler(request.action), self._call(request, effect_key)
        try:
            return await self._patiently(lambda: handler.reconcile(request.action, call))
        except ActionError as error:
            return _failed(error)
        except UnavailableError as error:
            raise AmbiguousEffectError(
                f"{request.action.kind} of {request.action.service} was begun, and whether it happened cannot be told: "
                f"{clean(str(error))}"
            ) from error

    async def _patiently(self, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """What `work` comes to; it is tried again while what it needs does not answer, but not for ever."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._patience
        pause, longest = _PAUSES
        while True:
            try:
                return await work()
            except UnavailableError:
                if loop.time() + pause > give_up_at:
                    raise
            except BrainOpsError:
                raise
            except Exception as error:
                log.exception("an action failed in a way that is ours to mend")
                raise AmbiguousEffectError(
                    f"BrainOps itself failed ({type(error).__name__}: {clean(str(error), 200)}); look what it did"
                ) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

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
        if isinstance(request.action, PluginAction):
            using = tuple(remedy for remedy in using if remedy.name == request.action.plugin)
        if not using:
            raise NotAllowedError(f"{request.action.kind} is no part of any {request.action_class.value} remedy")
        if isinstance(request.action, PutBackFiles | PutBackContainer) or _is_undo(request.action):
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
        if request.action_class is ActionClass.QUIET_NEIGHBOUR:
            self._check_neighbour(request.service, name, acted_on)
            return
        if request.action_class is not ActionClass.RESTART_DEPENDENCY or name not in self._dependencies(
            request.service
        ):
            raise NotAllowedError(
                f"{name} may not be touched for {request.service}; "
                f"name it in services.{request.service}.depends_on if it belongs to it"
            )
        if not is_permitted("restart", acted_on):
            raise NotAllowedError(f"{name} does not permit restart; change services.{name}.remedies")

    def _check_neighbour(self, name: str, other_name: str, other: Service) -> None:
        """Only what is declared to give way may be touched for a service that it does not belong to."""
        if not is_neighbour(name, self._service(name), other_name, other):
            raise NotAllowedError(
                f"{other_name} need not give way to {name}; write priority: low in services.{other_name}, "
                f"and not in services.{name}"
            )
        if not is_permitted("quiet_neighbour", other):
            raise NotAllowedError(
                f"{other_name} does not permit quiet_neighbour; change services.{other_name}.remedies"
            )

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
        return Call(service_name=name, service=self._service(name), effect_key=effect_key, undoing=request.undoing)


def _is_undo(action: Action) -> bool:
    return isinstance(action, RunCommand) and action.undoing


def _failed(error: ActionError | UnavailableError) -> ActionResult:
    return ActionResult(ok=False, summary=clean(str(error), _LONGEST))
