"""Process: it lives, is not suspended, and stays inside its memory limit."""

from brainops.config.models import Service
from brainops.config.quantities import format_size
from brainops.contracts.check import ProbeResult, Reason
from brainops.contracts.service import ServiceStatus
from brainops.services.process import ProcessAdapter


async def probe_process(name: str, service: Service, adapter: ProcessAdapter) -> ProbeResult:
    """Look at the service's process. Measures memory only where a limit is declared."""
    limit = service.limits.memory
    state = await adapter.state(name, service, memory=limit is not None)
    if state.status is ServiceStatus.NEVER_STARTED:
        return ProbeResult(ok=False, reason=Reason.NOT_RUNNING, detail="it was never started")
    if state.status is ServiceStatus.EXITED:
        return ProbeResult(ok=False, reason=Reason.EXITED, detail=state.detail)
    if state.status is ServiceStatus.STOPPED:
        return ProbeResult(ok=False, reason=Reason.TIMEOUT, detail="the process is suspended (SIGSTOP)")
    if limit is not None and state.rss_bytes is not None and state.rss_bytes > limit:
        detail = f"{format_size(state.rss_bytes)} of memory, more than its limit of {format_size(limit)}"
        return ProbeResult(ok=False, reason=Reason.MEMORY, detail=detail)
    return ProbeResult(ok=True)
