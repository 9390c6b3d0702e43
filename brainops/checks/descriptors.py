"""File descriptors: each probe on its way holds one or two, and a process is given 1,024 where nobody says otherwise.

The limit is raised only where the configuration needs it, and no further: services that BrainOps starts inherit it.
"""

import resource

import structlog

_SPARE = 512
"""For everything but probes: the database, Temporal, logs, processes that are followed."""
_FOR_A_PROBE = 2
_FEWEST = 64

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


def concurrent_probes(checks: int) -> int:
    """How many of so many checks may be probed at the same time. Raises this process's limit where that is needed.

    With enough descriptors it is all of them: checks that hang then delay no others.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = checks * _FOR_A_PROBE + _SPARE
    if _above(needed, soft):
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if not _above(needed, soft):
        return max(1, checks)
    at_once = max(_FEWEST, (soft - _SPARE) // _FOR_A_PROBE)
    log.warning(
        "not every check can be probed at the same time: raise the limit of file descriptors (ulimit -n)",
        limit=soft,
        needed=needed,
        at_once=at_once,
    )
    return at_once


def _above(needed: int, limit: int) -> bool:
    return limit != resource.RLIM_INFINITY and needed > limit
