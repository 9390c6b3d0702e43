"""Recreate: replace a container by one of its last known good configuration."""

from collections.abc import Sequence
from datetime import timedelta

from brainops.config.models import Service
from brainops.config.runs import ComposeRun, DockerRun
from brainops.contracts.action import ActionResult, PutBackContainer, RecreateContainer
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, ContainerFacts, Evidence, FaultKind
from brainops.errors import ActionError, NotAllowedError
from brainops.incidents.signature import classify
from brainops.remedies.base import Call, Handler, HostTools, Remedy, RemedyContext
from brainops.remedies.reading import blocked_by_stranger
from brainops.services.container_facts import Container
from brainops.services.container_good import GoodContainer
from brainops.services.container_replacement import Replacement
from brainops.services.container_services import ContainerServices
from brainops.telemetry.redaction import clean

_MAY_HELP = frozenset(
    {
        FaultKind.CRASH,
        FaultKind.CRASH_LOOP,
        FaultKind.HANG,
        FaultKind.UNREACHABLE,
        FaultKind.ERRORS,
        FaultKind.SLOW,
        FaultKind.OVER_MEMORY,
    }
)
"""What a container can bring with it that outlives its restart."""


def _containers(tools: HostTools, call: Call) -> ContainerServices:
    found = tools.host.of(call.service)
    if not isinstance(found, ContainerServices):
        raise NotAllowedError(f"{call.service_name} is of kind {call.service.run.kind} and has no container")
    return found


def _replacement(tools: HostTools, call: Call) -> Replacement:
    services = _containers(tools, call)
    folder = tools.paths.services / call.service_name
    run = call.service.run
    stop_timeout = run.stop_timeout if isinstance(run, DockerRun | ComposeRun) else timedelta(seconds=10)
    return Replacement(services.engine(call.service), folder, stop_timeout)


class RecreateHandler(Handler[RecreateContainer]):
    """Makes the new one, sets the old one aside, and starts the new one under its name."""

    action = RecreateContainer

    def authorize(self, _action: RecreateContainer, call: Call, /) -> None:
        _containers(self._tools, call)

    async def perform(self, action: RecreateContainer, call: Call, /) -> ActionResult:
        good = await self._good(action, call)
        replacement = _replacement(self._tools, call)
        try:
            old = await replacement.replace(good, action.container_id, call.effect_key)
        except ActionError as error:
            if not any(one.id == action.container_id for one in replacement.replaced()):
                raise
            # the old one may have worked in part, and the new one does not even start
            undo = PutBackContainer(service=action.service, container_id=action.container_id)
            return ActionResult(ok=False, summary=clean(str(error)), undo=undo)
        made = await replacement.made(call.effect_key)
        if made is None:
            raise ActionError(f"the new container of {action.service} is gone already; does somebody remove it?")
        return _recreated(action, made, old)

    async def reconcile(self, _action: RecreateContainer, call: Call, /) -> ActionResult | None:
        # every step can be repeated: what has been done is found by the effect's label on the new container
        _containers(self._tools, call)
        return None

    async def _good(self, action: RecreateContainer, call: Call) -> GoodContainer:
        services = _containers(self._tools, call)
        standing = await services.containers(call.service)
        good = services.good(call.service_name)
        names = [one.name for one in standing if one.id == action.container_id]
        made = await _replacement(self._tools, call).made(call.effect_key)
        aside = [one.name for one in _replacement(self._tools, call).replaced() if one.id == action.container_id]
        name = next(iter([*names, *aside, *_good_name(made), *good.names()]), "")
        found = good.find(name) if name else None
        if found is None:
            raise ActionError(
                f"no good configuration of the container of {action.service} was kept: "
                "it was never healthy for long enough while BrainOps watched"
            )
        return found


class PutBackHandler(Handler[PutBackContainer]):
    """Puts the old container back in the place of the new one."""

    action = PutBackContainer

    def authorize(self, _action: PutBackContainer, call: Call, /) -> None:
        _containers(self._tools, call)

    async def perform(self, action: PutBackContainer, call: Call, /) -> ActionResult:
        return ActionResult(ok=True, summary=await _replacement(self._tools, call).put_back(action.container_id))

    async def reconcile(self, action: PutBackContainer, call: Call, /) -> ActionResult | None:
        kept = any(one.id == action.container_id for one in _replacement(self._tools, call).replaced())
        return None if kept else ActionResult(ok=True, summary=f"the container {action.container_id[:12]} is back")


class Recreate(Remedy):
    """Make a container anew: it is missing or dead, made otherwise than when it was good, or no restart has helped."""

    name = "recreate"
    action_class = ActionClass.RECREATE
    cost = 3
    rank = 55
    handlers = (RecreateHandler, PutBackHandler)
    uses = (RecreateContainer, PutBackContainer)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        container = evidence.container
        if container is None or not container.known_good or blocked_by_stranger(evidence, service):
            return ()
        actions = (RecreateContainer(service=context.service, container_id=container.id),)
        if container.missing:
            # nothing else can help while there is nothing to be started
            cause = f"there is no container {container.name} any more"
            return (self.candidate(actions, cause, explains=True, rules_out=("start", "restart"), cost=1),)
        if container.drifted:
            return (self.candidate(actions, _drift(container), explains=True, cost=2),)
        if classify(evidence) not in _MAY_HELP:
            return ()
        cause = f"the container {container.name} may have spoiled what it wrote into itself"
        return (self.candidate(actions, cause),)


def _drift(container: ContainerFacts) -> str:
    what = ", ".join(container.drifted[:3])
    return f"the container {container.name} is made otherwise than when it was good: {what}"


def _good_name(made: Container | None) -> list[str]:
    return [made.name.partition(".brainops-new-")[0]] if made is not None else []


def _recreated(action: RecreateContainer, made: Container, old: Container | None) -> ActionResult:
    undo = PutBackContainer(service=action.service, container_id=old.id) if old is not None else None
    text = f"made the container {made.name} anew from its good configuration, as {made.short_id}"
    if old is not None:
        text += f"; the old one stands aside as {old.name}.brainops-old-{old.short_id} until this one is proven"
    return ActionResult(ok=True, summary=text[:500], undo=undo)
