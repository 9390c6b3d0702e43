"""Prune images and build caches of the Docker engine down to what the configuration lets them take."""

from collections.abc import Sequence
from datetime import UTC, datetime

from brainops.config.models import Service
from brainops.config.quantities import format_size
from brainops.config.runs import ComposeRun, DockerRun
from brainops.contracts.action import ActionResult, PruneImages
from brainops.contracts.agent import ActionClass
from brainops.contracts.check import Reason
from brainops.contracts.incident import Candidate, Evidence
from brainops.errors import NotAllowedError
from brainops.incidents.signature import failing_reasons
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.services.container_engine import Engine, endpoint_of
from brainops.services.container_good import good_image_ids
from brainops.services.container_images import BUILD_CACHE, IMAGES, prune


class PruneImagesHandler(Handler[PruneImages]):
    """Removes what nothing uses. Repeating it does no more than the target asks for."""

    action = PruneImages

    def authorize(self, action: PruneImages, call: Call, /) -> None:
        name, allowed = call.service_name, call.service.limits.disk
        if allowed is None:
            raise NotAllowedError(f"{name} declares no limits.disk; write services.{name}.limits.disk")
        if action.target_bytes < allowed:
            raise NotAllowedError(
                f"images may be pruned down to {format_size(allowed)} and not to {format_size(action.target_bytes)}; "
                f"change services.{name}.limits.disk"
            )

    async def perform(self, action: PruneImages, call: Call, /) -> ActionResult:
        run = call.service.run
        engine = Engine(endpoint_of(run.endpoint if isinstance(run, DockerRun | ComposeRun) else None))
        try:
            kept = good_image_ids(self._tools.paths.services)
            summary = await prune(engine, action.target_bytes, kept, now=datetime.now(UTC))
        finally:
            await engine.close()
        return ActionResult(ok=True, summary=summary)

    async def reconcile(self, _action: PruneImages, _call: Call, /) -> ActionResult | None:
        # pruning stops at the target, whoever began it
        return None


class PruneUnusedImages(Remedy):
    """Remove build caches and unused images when a disk or its inodes run full."""

    name = "prune_images"
    action_class = ActionClass.PRUNE_IMAGES
    cost = 2
    rank = 45
    handlers = (PruneImagesHandler,)
    uses = (PruneImages,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        if not failing_reasons(evidence) & {Reason.DISK, Reason.INODES} or service.limits.disk is None:
            return ()
        found = [one for one in evidence.reclaimable if one.kind in (IMAGES, BUILD_CACHE) and one.bytes]
        if not found:
            return ()
        actions = (PruneImages(service=context.service, target_bytes=service.limits.disk),)
        cause = f"unused Docker images and build caches take {format_size(sum(one.bytes for one in found))}"
        return (self.candidate(actions, cause, explains=True),)
