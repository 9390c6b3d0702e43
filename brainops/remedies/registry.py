"""Every remedy of this folder, and of packages that bring their own (entry points `brainops.remedies`)."""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Any

import structlog

import brainops.remedies
from brainops.config.models import Service
from brainops.config.plugins import PluginKind, installed
from brainops.contracts.action import PluginAction
from brainops.contracts.agent import ActionClass
from brainops.contracts.base import Contract
from brainops.contracts.incident import Candidate, Evidence
from brainops.errors import SetupError
from brainops.remedies.base import Handler, HostTools, Remedy, RemedyContext
from brainops.remedies.permission import is_permitted
from brainops.remedies.plugin import PluginDispatch, load_remedy
from brainops.telemetry.redaction import clean

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@cache
def remedies() -> tuple[Remedy, ...]:
    """All remedies, in the order in which equals are tried. A package's that cannot be used is named and left out.

    Raises SetupError when two of our own share a name.
    """
    found = {remedy.name: remedy for remedy in _own()}
    for plugin in installed(PluginKind.REMEDY):
        try:
            found[plugin.name] = load_remedy(plugin, found)
        except SetupError as error:
            log.warning("a remedy is left out", reason=clean(str(error)))
    return tuple(sorted(found.values(), key=lambda remedy: (remedy.rank, remedy.name)))


def remedy_names() -> tuple[str, ...]:
    """What `remedies.only` and `remedies.never` may name, beside declared commands."""
    return tuple(remedy.name for remedy in remedies())


def candidates(evidence: Evidence, service: Service, context: RemedyContext) -> tuple[Candidate, ...]:
    """The remedies that the evidence allows and the service permits, in the registry's order. Pure."""
    return tuple(
        candidate
        for remedy in remedies()
        for candidate in _proposed(remedy, evidence, service, context)
        if is_permitted(candidate.remedy, service)
    )


def remedies_using(action: type[Contract], action_class: ActionClass) -> tuple[Remedy, ...]:
    """The remedies in whose name an action of this kind may be asked for under `action_class`."""
    return tuple(remedy for remedy in remedies() if remedy.action_class is action_class and action in remedy.uses)


def handlers(tools: HostTools) -> dict[type[Contract], Handler[Any]]:
    """A handler for each kind of action. Any, since each has an action type of its own."""
    own = [handler(tools) for remedy in remedies() if not _is_foreign(remedy) for handler in remedy.handlers]
    made: dict[type[Contract], Handler[Any]] = {handler.action: handler for handler in own}
    foreign = {
        remedy.name: handler(tools) for remedy in remedies() if _is_foreign(remedy) for handler in remedy.handlers
    }
    made[PluginAction] = PluginDispatch(tools, foreign)
    return made


def _own() -> Iterator[Remedy]:
    prefix = f"{brainops.remedies.__name__}."
    for module in pkgutil.iter_modules(brainops.remedies.__path__, prefix):
        importlib.import_module(module.name)
    kinds = [kind for kind in Remedy.__subclasses__() if kind.__module__.startswith(prefix)]
    names = [kind.name for kind in kinds]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise SetupError(f"two remedies are called {', '.join(sorted(doubled))}; rename one of them")
    return (kind() for kind in kinds)


def _is_foreign(remedy: Remedy) -> bool:
    return remedy.action_class is ActionClass.PLUGIN


def _proposed(remedy: Remedy, evidence: Evidence, service: Service, context: RemedyContext) -> tuple[Candidate, ...]:
    """What a remedy proposes. What a package's raises is told, and the others are asked all the same."""
    if not _is_foreign(remedy):
        return tuple(remedy.propose(evidence, service, context))
    try:
        return tuple(
            candidate
            for candidate in remedy.propose(evidence, service, context)
            if candidate.action_class is ActionClass.PLUGIN and candidate.remedy.split(":")[0] == remedy.name
        )
    except Exception as error:  # noqa: BLE001 - whatever a package raises
        log.warning("a remedy of a package failed", remedy=remedy.name, reason=clean(str(error)))
        return ()
