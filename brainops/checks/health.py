"""Health: what the health check that a container brings along says, as the engine told it last."""

from brainops.checks.base import CheckProbe, Subject
from brainops.checks.conditions import judge
from brainops.config.checks import HealthCheck
from brainops.contracts.check import ProbeResult, Reason
from brainops.errors import BrainOpsError

_DECLARE = "declare a HEALTHCHECK in its image or a healthcheck in its Compose file, or remove this check"


class HealthProbe(CheckProbe[HealthCheck]):
    """Asks nobody: events of the engine have told it. A container that is still starting is not unhealthy."""

    check = HealthCheck

    async def look(self, subject: Subject, check: HealthCheck, /) -> ProbeResult:
        if not subject.here:
            return _failed(Reason.ERROR, "its containers cannot be seen from this host")
        try:
            container = await self._tools.services.container(subject.service_name, subject.service)
        except BrainOpsError as error:
            return _failed(Reason.ERROR, str(error))
        if container is None:
            return _failed(Reason.ERROR, f"a service of kind {subject.service.run.kind} has no container")
        if container.missing:
            return _failed(Reason.NOT_RUNNING, f"there is no container {container.name}")
        match container.health:
            case "healthy" | "starting" as health:
                reason, wrong = judge(check.conditions, {"HEALTH": health})
                if reason is not Reason.NONE:
                    return _failed(reason, wrong)
                detail = "its health check is still in its start period" if health == "starting" else ""
                return ProbeResult(ok=True, detail=detail)
            case "":
                return _failed(Reason.ERROR, f"the container {container.name} has no health check; {_DECLARE}")
            case _:
                said = f": {container.health_output}" if container.health_output else ""
                return _failed(Reason.HEALTH, f"the container's own health check fails{said}")


def _failed(reason: Reason, detail: str) -> ProbeResult:
    return ProbeResult(ok=False, reason=reason, detail=detail[:500])
