"""Restart a dependency first: this service's own words point at it."""

import re
from collections.abc import Sequence

from brainops.config.models import Service
from brainops.contracts.action import RestartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, DependencyFacts, Evidence
from brainops.contracts.service import ServiceStatus
from brainops.incidents.ports import needed_ports
from brainops.remedies.base import Remedy, RemedyContext
from brainops.remedies.permission import is_permitted
from brainops.remedies.reading import words

_UPSTREAM = re.compile(
    r"connection (?:was )?(?:refused|reset)|ECONNREFUSED|ECONNRESET|ETIMEDOUT|timed? ?out|timeout|upstream|bad gateway"
    r"|gateway|\b50[234]\b|unavailable|is away|unreachable|no route|dependency|backend|connect call failed"
    r"|remote end closed",
    re.IGNORECASE,
)


class RestartDependency(Remedy):
    """Restart what this service depends on, then the service."""

    name = "restart_dependency"
    action_class = ActionClass.RESTART_DEPENDENCY
    cost = 2
    rank = 60
    uses = (RestartService,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        if evidence.state.status is ServiceStatus.STOPPED:
            return ()
        reachable = [name for name in service.depends_on if _may_be_restarted(name, service, context)]
        facts = {fact.service: fact for fact in evidence.dependencies}
        failing = [name for name in reachable if name in facts and not facts[name].passing]
        if failing:
            return (self._first_restarting(failing[0], context, _failing_cause(facts[failing[0]]), explains=True),)
        suspicious = next((name for name in reachable if _is_suspicious(name, evidence, service, context)), None)
        if suspicious is None:
            return ()
        said = evidence.log.error_line if _UPSTREAM.search(evidence.log.error_line) else evidence.detail
        cause = f"{suspicious} passes its checks and does not serve {context.service}: {said}"
        return (self._first_restarting(suspicious, context, cause, explains=False),)

    def _first_restarting(self, dependency: str, context: RemedyContext, cause: str, *, explains: bool) -> Candidate:
        actions = (RestartService(service=dependency), RestartService(service=context.service))
        return self.candidate(actions, cause, explains=explains)


def _may_be_restarted(name: str, service: Service, context: RemedyContext) -> bool:
    dependency = context.services.get(name)
    return dependency is not None and dependency.host == service.host and is_permitted("restart", dependency)


def _failing_cause(fact: DependencyFacts) -> str:
    return f"{fact.service}, which it depends on, fails: {fact.detail or fact.reason.value}"


def _is_suspicious(name: str, evidence: Evidence, service: Service, context: RemedyContext) -> bool:
    """Whether what the service says points at this dependency: by name, by port, or by being its only one."""
    text = words(evidence)
    if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text, re.IGNORECASE):
        return True
    if any(re.search(rf"(?<!\d){port}(?!\d)", text) for port in needed_ports(context.services[name])):
        return True
    # our own probe's "connection refused" is in the detail and speaks of the service itself
    told_by_service = evidence.log.error_line + (evidence.detail if evidence.reason.value in ("status", "body") else "")
    return len(service.depends_on) == 1 and _UPSTREAM.search(told_by_service) is not None
