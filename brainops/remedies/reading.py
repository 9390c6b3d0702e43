"""What several remedies read out of the same evidence."""

import re

from brainops.config.models import Service
from brainops.contracts.incident import Evidence, PortFacts
from brainops.contracts.service import ServiceStatus

_IN_USE = re.compile(r"address (?:is )?already in use|EADDRINUSE|port .{0,40}(?:in use|taken|allocated)", re.IGNORECASE)

_NO_ROOM = re.compile(
    r"no space|ENOSPC|quota|\b507\b|insufficient storage|(?:disk|folder|directory|storage|volume) (?:is )?full|too large",
    re.IGNORECASE,
)


def not_running(evidence: Evidence) -> bool:
    """Whether the service has no process."""
    return evidence.state.status in (ServiceStatus.EXITED, ServiceStatus.NEVER_STARTED)


def ended_cleanly(evidence: Evidence) -> bool:
    """Whether the process ended with exit code 0."""
    ended = evidence.state.exit
    return evidence.state.status is ServiceStatus.EXITED and ended is not None and ended.exit_code == 0


def words(evidence: Evidence) -> str:
    """What the failed check and the log say."""
    return f"{evidence.detail}\n{evidence.log.error_line}"


def says_no_room(evidence: Evidence) -> bool:
    """Whether the failed check or the log says that there is no room left on a disk."""
    return _NO_ROOM.search(words(evidence)) is not None


def strangers(evidence: Evidence) -> tuple[PortFacts, ...]:
    """Ports of the service that another process holds."""
    return tuple(port for port in evidence.ports if port.holder_pid is not None and not port.holder_is_service)


def blocked_by_stranger(evidence: Evidence, service: Service) -> bool:
    """Whether no start can succeed, because a process that is not ours to end holds a port of the service.

    A port that is only known from a check's URL may rightly be another program's (a proxy before the service), so it
    counts only when the log says that an address is in use.
    """
    if not not_running(evidence):
        return False
    in_use = _IN_USE.search(words(evidence)) is not None
    return any(not port.may_be_ended and (in_use or port.port in service.ports) for port in strangers(evidence))
