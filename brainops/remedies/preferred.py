"""Which candidates runbooks ask for, and in which order."""

from collections.abc import Sequence

from brainops.config.models import Service
from brainops.contracts.action import RestartService, RunCommand
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence
from brainops.memory.runbooks import Runbook
from brainops.remedies.permission import is_permitted
from brainops.remedies.reading import not_running

_COMMAND = "run_command:"


def preferred(
    found: Sequence[Candidate], runbooks: Sequence[Runbook], evidence: Evidence, service: Service
) -> tuple[Candidate, ...]:
    """`found`, those that a runbook names marked with it, and the declared commands that only a runbook asks for.

    `runbooks`: those that are for the fault; an earlier one's order comes first. What the evidence rules out or the
    configuration does not declare or permit is no candidate, whatever a runbook says. Pure.
    """
    wanted = {action: runbook for runbook in reversed(runbooks) for action in runbook.front.actions}
    order = list(dict.fromkeys(action for runbook in runbooks for action in runbook.front.actions))
    marked = [_marked(candidate, order, wanted) for candidate in found]
    names = {candidate.remedy for candidate in marked}
    for action in order:
        command = action.removeprefix(_COMMAND)
        declared = action.startswith(_COMMAND) and command in service.commands
        if declared and action not in names and is_permitted(action, service):
            marked.append(_marked(_command(command, wanted[action], evidence, service), order, wanted))
    return tuple(marked)


def _marked(candidate: Candidate, order: Sequence[str], wanted: dict[str, Runbook]) -> Candidate:
    """A runbook may name a remedy with its variant (`run_command:flush`) or all of its variants (`clean_folder`)."""
    for action in (candidate.remedy, candidate.remedy.partition(":")[0]):
        if action in wanted:
            changes = {"runbook": wanted[action].path[:500], "runbook_place": order.index(action)}
            return candidate.model_copy(update=changes)
    return candidate


def _command(name: str, runbook: Runbook, evidence: Evidence, service: Service) -> Candidate:
    actions: list[RunCommand | RestartService] = [RunCommand(service=evidence.service, command=name)]
    if service.commands[name].restart or not_running(evidence):
        actions.append(RestartService(service=evidence.service))
    return Candidate(
        remedy=f"{_COMMAND}{name}",
        action_class=ActionClass.RUN_COMMAND,
        actions=tuple(actions),
        cause=f"{runbook.front.title}; {name} is what the runbook says",
        cost=1,
    )
