"""What of the evidence the plan and a person need first."""

from collections.abc import Sequence

from brainops.config.quantities import format_size
from brainops.contracts.check import Reason
from brainops.contracts.incident import Evidence, EvidenceSummary, FileCondition, Signature
from brainops.contracts.service import ServiceStatus
from brainops.incidents.signature import sign
from brainops.memory.runbooks import Runbook

_BROKEN = (FileCondition.CHANGED, FileCondition.MISSING, FileCondition.UNREADABLE)


def summarise(evidence: Evidence, runbooks: Sequence[Runbook] = ()) -> EvidenceSummary:
    """The summary of captured evidence. `runbooks`: of which those that are for it are named. Pure."""
    signature = sign(evidence)
    return EvidenceSummary(
        signature=signature,
        headline=_headline(evidence),
        failing_dependencies=tuple(fact.service for fact in evidence.dependencies if not fact.passing),
        still_failing=_still_failing(evidence),
        obstacles=_obstacles(evidence),
        runbooks=tuple(runbook.path[:500] for runbook in matching(runbooks, evidence, signature)),
    )


def matching(runbooks: Sequence[Runbook], evidence: Evidence, signature: Signature) -> list[Runbook]:
    """The runbooks that are for this fault, in their order. Pure."""
    line = evidence.log.error_line
    return [runbook for runbook in runbooks if runbook.is_for(evidence.service, signature, line)]


def _obstacles(evidence: Evidence) -> tuple[str, ...]:
    """What stands in the way, without what changes from look to look (pids, sizes): two looks can be compared."""
    found = [
        f"port {port.port}" for port in evidence.ports if port.holder_pid is not None and not port.holder_is_service
    ]
    found += [f"{file.path} {file.condition.value}" for file in evidence.files if file.condition in _BROKEN]
    found += [f"folder {folder.path}" for folder in evidence.folders if not folder.exists or folder.over_limit]
    found += [f"service {fact.service}" for fact in evidence.dependencies if not fact.passing]
    return tuple(sorted(set(found)))


def _still_failing(evidence: Evidence) -> bool:
    """Whether the incident's check fails on a fresh look; True also where that look gave no answer in its time."""
    if evidence.state.status not in (ServiceStatus.RUNNING, ServiceStatus.UNSEEN):
        return True
    return evidence.probes.get(evidence.check) is not Reason.NONE


def _headline(evidence: Evidence) -> str:
    parts = [f"{evidence.service} {_symptom(evidence)}", *_findings(evidence)]
    return "; ".join(parts)[:500]


def _symptom(evidence: Evidence) -> str:
    said = f": {evidence.log.error_line[:200]}" if evidence.log.error_line else ""
    match evidence.state.status:
        case ServiceStatus.NEVER_STARTED:
            return "was never started"
        case ServiceStatus.EXITED:
            again = f" ({evidence.failed_starts} failed starts in a minute)" if evidence.failed_starts > 1 else ""
            return f"{_ending(evidence)}{again}{said}"
        case ServiceStatus.STOPPED:
            return "is suspended"
        case ServiceStatus.RESTARTING:
            return f"{_ending(evidence)} and is being restarted by its own supervisor{said}"
        case ServiceStatus.RUNNING | ServiceStatus.UNSEEN:
            return f"fails {evidence.check}: {evidence.detail or evidence.reason.value}{said}"


def _ending(evidence: Evidence) -> str:
    """How it ended, as the rest of a sentence that begins with its name."""
    return (evidence.state.detail or "ended").removeprefix("it ")


def _findings(evidence: Evidence) -> list[str]:
    """What is broken beside the symptom; a person is told who holds a port that is not ours to free."""
    found: list[str] = []
    for port in evidence.ports:
        if port.holder_pid is not None and not port.holder_is_service:
            whose = "a stray" if port.may_be_ended else "not BrainOps' to end"
            found.append(
                f"port {port.port} is held by process {port.holder_pid} ({port.holder_command[:120]}), {whose}"
            )
    found += [f"{file.path} is {file.condition.value}" for file in evidence.files if file.condition in _BROKEN]
    for folder in evidence.folders:
        if not folder.exists:
            found.append(f"the folder {folder.path} is missing")
        elif folder.over_limit:
            limit = format_size(folder.limit_bytes or 0)
            found.append(f"{folder.path} holds {format_size(folder.bytes)}, more than {limit}")
    found += [
        f"{fact.service} fails {fact.check}: {fact.detail[:100] or fact.reason.value}"
        for fact in evidence.dependencies
        if not fact.passing
    ]
    return found
