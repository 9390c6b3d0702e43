"""Which remedies a service's configuration permits."""

from brainops.config.models import Service


def is_permitted(remedy: str, service: Service) -> bool:
    """Whether `remedies.only` and `remedies.never` of the service let `remedy` be used.

    A variant (`run_command:flush`) is named by its remedy, or by what tells it apart.
    """
    names = set(remedy.split(":"))
    only, never = set(service.remedies.only), set(service.remedies.never)
    return not names & never and (not only or bool(names & only))
