"""What an action names must stand in the configuration: an action comes from a workflow that anybody may have started."""

from collections.abc import Iterable

from brainops.errors import NotAllowedError


def refuse_undeclared(named: Iterable[str], declared: Iterable[str], where: str) -> None:
    """Raise NotAllowedError for what is `named` and not `declared`; `where`: its place in the file."""
    unknown = sorted(set(named) - set(declared))
    if unknown:
        raise NotAllowedError(f"{', '.join(unknown)[:200]} is not declared in {where}")
