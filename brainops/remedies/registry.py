"""Every remedy of this folder, and of packages that bring their own (entry points `brainops.remedies`)."""

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import brainops.remedies
from brainops.config.models import Service
from brainops.contracts.agent import ActionClass
from brainops.contracts.base import Contract
from brainops.contracts.incident import Candidate, Evidence
from brainops.errors import SetupError
from brainops.remedies.base import Handler, HostTools, Remedy, RemedyContext
from brainops.remedies.permission import is_permitted

ENTRY_POINTS = "brainops.remedies"
"""Group under which a package names modules that define remedies."""


@cache
def remedies() -> tuple[Remedy, ...]:
    """All remedies, in the order in which equals are tried. Raises SetupError when two share a name."""
    for module in pkgutil.iter_modules(brainops.remedies.__path__, f"{brainops.remedies.__name__}."):
        importlib.import_module(module.name)
    for point in entry_points(group=ENTRY_POINTS):
        point.load()
    found = sorted((kind() for kind in Remedy.__subclasses__()), key=lambda remedy: (remedy.rank, remedy.name))
    names = [remedy.name for remedy in found]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise SetupError(f"two remedies are called {', '.join(sorted(doubled))}; rename or uninstall one of them")
    return tuple(found)


def remedy_names() -> tuple[str, ...]:
    """What `remedies.only` and `remedies.never` may name, beside declared commands."""
    return tuple(remedy.name for remedy in remedies())


def candidates(evidence: Evidence, service: Service, context: RemedyContext) -> tuple[Candidate, ...]:
    """The remedies that the evidence allows and the service permits, in the registry's order. Pure."""
    return tuple(
        candidate
        for remedy in remedies()
        for candidate in remedy.propose(evidence, service, context)
        if is_permitted(candidate.remedy, service)
    )


def remedies_using(action: type[Contract], action_class: ActionClass) -> tuple[Remedy, ...]:
    """The remedies in whose name an action of this kind may be asked for under `action_class`."""
    return tuple(remedy for remedy in remedies() if remedy.action_class is action_class and action in remedy.uses)


def handlers(tools: HostTools) -> dict[type[Contract], Handler[Any]]:
    """A handler for each kind of action. Any, since each has an action type of its own."""
    made = (handler(tools) for remedy in remedies() for handler in remedy.handlers)
    return {handler.action: handler for handler in made}
