"""A fresh look at a configured check, within the time that the asker has."""

from collections.abc import Mapping
from datetime import timedelta

from brainops.checks.base import Subject
from brainops.checks.probe import Prober
from brainops.config.models import LOCAL_HOST, Service
from brainops.contracts.check import ProbeResult, Reason
from brainops.errors import NotFoundError


class FreshLook:
    """Looks at checks of `services` from `host`."""

    def __init__(self, prober: Prober, services: Mapping[str, Service], host: str = LOCAL_HOST) -> None:
        self._prober = prober
        self._services = services
        self._host = host

    async def at(self, service_name: str, check_name: str, within: timedelta | None = None) -> ProbeResult | None:
        """One probe of a check, with its own timeout or `within`, whichever is shorter.

        None: it had not answered `within` its time, though its own timeout would allow it more; so nothing is known.
        Raises NotFoundError for what is not configured.
        """
        service = self._services.get(service_name)
        check = service.all_checks().get(check_name) if service is not None else None
        if service is None or check is None:
            raise NotFoundError(f"there is no check {service_name}/{check_name} in the configuration")
        cut = within is not None and within < check.timeout and check.kind != "process"
        if cut:
            check = check.model_copy(update={"timeout": within})
        subject = Subject(service_name, check_name, service, here=service.host == self._host)
        result = await self._prober.look(subject, check)
        return None if cut and result.reason is Reason.TIMEOUT else result
