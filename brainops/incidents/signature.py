"""Names a fault from its evidence, so that it is known again.

A signature must be the same on the second occurrence, whichever check saw it first and however early we looked. It is
therefore made of what is stable: the state of the process before the reason a probe happened to give, the kind of the
failing check rather than its name, the template of the log line, and which declared thing is broken. Nothing of the
place (service, port, pid, path) enters, so that what helped one service is known for all.
"""

import hashlib
import signal
from collections.abc import Sequence

from brainops.contracts.check import CheckKind, Reason
from brainops.contracts.incident import Evidence, FaultKind, FileCondition, Signature
from brainops.contracts.service import ExitRecord, ServiceStatus
from brainops.telemetry.templates import is_error_like

QUICK_EXIT_SECONDS = 5.0
"""A process that ends sooner after its start than this has not come up."""

LOOP_STARTS = 2
"""Starts within the last minute that did not come up, from which a crash is a loop."""

_ENDED = (ServiceStatus.EXITED, ServiceStatus.RESTARTING, ServiceStatus.NEVER_STARTED)

_SENT_BY_OTHERS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that somebody sends: what the log says last has nothing to do with them."""

_BY_SEVERITY: tuple[tuple[FaultKind, tuple[Reason, ...]], ...] = (
    (FaultKind.HANG, (Reason.TIMEOUT,)),
    (FaultKind.EXPIRY, (Reason.CERTIFICATE,)),
    (FaultKind.UNREACHABLE, (Reason.REFUSED, Reason.RESET, Reason.PROTOCOL, Reason.DNS)),
    (FaultKind.FULL, (Reason.DISK, Reason.INODES)),
    (FaultKind.DATABASE, (Reason.CONNECTIONS, Reason.OLD_TRANSACTION, Reason.LAG, Reason.QUERY)),
    (FaultKind.OVERUSE, (Reason.FILES, Reason.THREADS, Reason.CHILDREN, Reason.CPU)),
    (
        FaultKind.ERRORS,
        (
            Reason.STATUS,
            Reason.BODY,
            Reason.HEADER,
            Reason.REDIRECT,
            Reason.HEALTH,
            Reason.EXIT_CODE,
            Reason.OUTPUT,
            Reason.ERROR,
            Reason.CONDITION,
        ),
    ),
    (FaultKind.OVERLOADED, (Reason.LOAD, Reason.SWAP, Reason.CLOCK)),
    (FaultKind.SLOW, (Reason.SLOW,)),
    (FaultKind.SILENT, (Reason.MISSED,)),
    (FaultKind.LOGGED, (Reason.LOG_RATE, Reason.NEW_LINES)),
    (FaultKind.FLAPPING, (Reason.FLAPPING,)),
)
"""The first that has one of the reasons; a reason of the machine itself (memory, processor) is told by its check."""

_OF_MACHINE = {Reason.MEMORY: FaultKind.FULL, Reason.CPU: FaultKind.OVERLOADED}
"""What these reasons mean where a check of the machine gives them, rather than one of the process."""

_DESCRIPTIONS = {
    FaultKind.CRASH: "the process ended",
    FaultKind.CRASH_LOOP: "the process ends again whenever it is started",
    FaultKind.HANG: "the process runs and does not answer",
    FaultKind.UNREACHABLE: "the process runs and takes no connections",
    FaultKind.ERRORS: "the process answers with errors",
    FaultKind.SLOW: "the process answers too slowly",
    FaultKind.OVER_MEMORY: "the process uses more memory than it may",
    FaultKind.OVERUSE: "the process uses more than it may",
    FaultKind.EXPIRY: "a certificate is not valid, or not for long",
    FaultKind.FULL: "the machine has no room left",
    FaultKind.OVERLOADED: "the machine has more to do than it can",
    FaultKind.DATABASE: "the database is not well",
    FaultKind.LOGGED: "the log says that something is wrong",
    FaultKind.SILENT: "nothing was heard in time",
    FaultKind.FLAPPING: "it passes and fails in turn",
}


def classify(evidence: Evidence) -> FaultKind:
    """What is wrong. The state of the process comes before the reason of whichever probe was first."""
    if evidence.state.status in _ENDED:
        return FaultKind.CRASH_LOOP if is_looping(evidence) else FaultKind.CRASH
    if evidence.state.status is ServiceStatus.STOPPED:
        return FaultKind.HANG
    reasons = failing_reasons(evidence)
    of_machine = _machine_reason(evidence, reasons)
    if (Reason.MEMORY in reasons and of_machine is not Reason.MEMORY) or _is_over_memory(evidence):
        return FaultKind.OVER_MEMORY
    for kind, belonging in _BY_SEVERITY:
        if (reasons - {of_machine}).intersection(belonging):
            return kind
    if of_machine is not None:
        return _OF_MACHINE[of_machine]
    # its exit was seen, and it runs by now: somebody has started it
    return FaultKind.CRASH


def failing_reasons(evidence: Evidence) -> frozenset[Reason]:
    """Why checks fail now; where every fresh probe passes, why the incident's check failed."""
    fresh = {reason for reason in evidence.probes.values() if reason is not Reason.NONE}
    if evidence.check not in evidence.probes or not fresh:
        fresh.add(evidence.reason)
    return frozenset(fresh - {Reason.NONE})


def came_up(evidence: Evidence) -> bool:
    """Whether the process that ended had run for long enough to have come up."""
    seconds = evidence.seconds_from_start_to_exit
    return seconds is None or seconds >= QUICK_EXIT_SECONDS


def was_killed(evidence: Evidence) -> bool:
    """Whether the process was ended from outside rather than by itself."""
    return sent_from_outside(evidence.state.exit)


def sent_from_outside(end: ExitRecord | None) -> bool:
    """Whether a process ended by a signal that others send."""
    return end is not None and end.signal in _SENT_BY_OTHERS


def is_looping(evidence: Evidence) -> bool:
    """Whether the process ended by itself soon after its start, and not for the first time."""
    return evidence.failed_starts >= LOOP_STARTS and not came_up(evidence) and not was_killed(evidence)


def sign(evidence: Evidence) -> Signature:
    """The evidence's signature.

    A crash and a crash loop share their key: which of the two it is says when we looked, and not what is wrong.
    """
    kind = classify(evidence)
    check, reason = _check_and_reason(evidence, kind)
    facts = _broken_facts(evidence)
    ending = _ending(evidence) if kind in (FaultKind.CRASH, FaultKind.CRASH_LOOP) else ""
    template = _stable_template(evidence, kind)
    return Signature(
        key=signature_key(kind, check, reason, ending, template, facts),
        kind=kind,
        description=_describe(evidence, kind, ending, template, facts)[:500],
        ending=ending,
        template=template[:500],
        facts=facts,
    )


def signature_key(
    kind: FaultKind, check: str, reason: str, ending: str = "", template: str = "", facts: Sequence[str] = ()
) -> str:
    """`kind/check/reason/hash`, from the parts that `sign` finds in evidence."""
    digest = hashlib.sha256("\n".join((ending, template, *facts)).encode()).hexdigest()[:8]
    family = FaultKind.CRASH if kind is FaultKind.CRASH_LOOP else kind
    return f"{family.value}/{check}/{reason}/{digest}"


def _machine_reason(evidence: Evidence, reasons: frozenset[Reason]) -> Reason | None:
    """Memory or processor, where a check of the machine says so and no check of the process does."""
    for reason in _OF_MACHINE:
        if reason in reasons and _failing_check_kind(evidence, reason) == CheckKind.HOST.value:
            return reason
    return None


def _is_over_memory(evidence: Evidence) -> bool:
    used, limit = evidence.state.rss_bytes, evidence.memory_limit_bytes
    return used is not None and limit is not None and used > limit


def _check_and_reason(evidence: Evidence, kind: FaultKind) -> tuple[str, str]:
    if kind in (FaultKind.CRASH, FaultKind.CRASH_LOOP):
        never = evidence.state.status is ServiceStatus.NEVER_STARTED
        return CheckKind.PROCESS.value, (Reason.NOT_RUNNING if never else Reason.EXITED).value
    if kind is FaultKind.OVER_MEMORY:
        return CheckKind.PROCESS.value, Reason.MEMORY.value
    if evidence.state.status is ServiceStatus.STOPPED:
        return CheckKind.PROCESS.value, ServiceStatus.STOPPED.value
    reasons = failing_reasons(evidence)
    of_machine = _machine_reason(evidence, reasons)
    if of_machine is not None and kind is _OF_MACHINE[of_machine]:
        return CheckKind.HOST.value, of_machine.value
    reason = next(reason for of, several in _BY_SEVERITY if of is kind for reason in several if reason in reasons)
    return _failing_check_kind(evidence, reason), reason.value


def _failing_check_kind(evidence: Evidence, reason: Reason) -> str:
    """Kind of the check that says so; http before tcp where both do. Its name only where the kind is unknown."""
    names = [name for name, seen in evidence.probes.items() if seen is reason] or [evidence.check]
    kinds = {evidence.check_kinds[name] for name in names if name in evidence.check_kinds}
    return next((kind.value for kind in CheckKind if kind in kinds), evidence.check)


def _ending(evidence: Evidence) -> str:
    """How the process ended: `signal 9`, `exit 1`."""
    if evidence.state.memory_killed:
        return "its memory limit was reached"
    ended = evidence.state.exit
    if ended is None:
        return ""
    if ended.signal is not None:
        return f"signal {ended.signal}"
    return f"exit {ended.exit_code}" if ended.exit_code is not None else ""


def _stable_template(evidence: Evidence, kind: FaultKind) -> str:
    """The log's template where it belongs to the fault: an earlier error in a suspended process's log does not."""
    if kind in (FaultKind.OVER_MEMORY, FaultKind.SLOW) or evidence.state.status is ServiceStatus.STOPPED:
        return ""
    error_like = is_error_like(evidence.log.error_line)
    if kind in (FaultKind.CRASH, FaultKind.CRASH_LOOP):
        if was_killed(evidence):
            return ""
        ended = evidence.state.exit
        failed = ended is None or ended.exit_code != 0
        # the last words of a process that had long been serving are whatever it happened to do
        if not error_like and not (failed and not came_up(evidence)):
            return ""
    elif not error_like:
        return ""
    return _without_names(evidence, evidence.log.template)


def _without_names(evidence: Evidence, template: str) -> str:
    for name in sorted((evidence.service, *(fact.service for fact in evidence.dependencies)), key=len, reverse=True):
        template = template.replace(name, "<service>")
    return template


def _broken_facts(evidence: Evidence) -> tuple[str, ...]:
    """Which declared things are broken, without their names: the same symptom with another cause is another fault."""
    facts: set[str] = set()
    for file in evidence.files:
        if file.condition in (FileCondition.CHANGED, FileCondition.MISSING, FileCondition.UNREADABLE):
            facts.add(f"a declared file is {file.condition.value}")
    for folder in evidence.folders:
        if not folder.exists:
            facts.add("a declared folder is missing")
        elif folder.over_limit:
            facts.add("a declared folder is over its limit")
    if any(port.holder_pid is not None and not port.holder_is_service for port in evidence.ports):
        facts.add("a port is held by another process")
    return tuple(sorted(facts))


def _describe(evidence: Evidence, kind: FaultKind, ending: str, template: str, facts: tuple[str, ...]) -> str:
    text = _DESCRIPTIONS[kind]
    if kind is FaultKind.CRASH and evidence.state.status is ServiceStatus.NEVER_STARTED:
        text = "the process was never started"
    if evidence.state.status is ServiceStatus.STOPPED:
        text = "the process is suspended"
    if ending:
        text += f" ({ending})"
    if template:
        text += f": {template}"
    return "; ".join((text, *facts))
