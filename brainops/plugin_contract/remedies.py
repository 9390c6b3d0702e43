"""The contract of a remedy of a package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.config.plugins import PluginKind
from brainops.contracts.action import PluginAction
from brainops.contracts.incident import Candidate, Evidence
from brainops.database.engine import Database
from brainops.errors import NotAllowedError
from brainops.plugin_contract.loading import plugin_named, require
from brainops.remedies.base import Call, Handler, HostTools, RemedyContext
from brainops.remedies.plugin import load_remedy
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.storage.objects import ObjectStore

_EFFECT_KEY = "00000000-0000-0000-0000-000000000000.1.1"
_UNUSED_DATABASE = "postgresql://nobody@127.0.0.1:1/none"


async def assert_remedy_contract(
    name: str, evidence: Evidence, service: Service, directory: Path, *, services: Mapping[str, Service] | None = None
) -> Candidate:
    """The remedy loads, proposes itself for `evidence`, purely, and its handler does that once, however often it is asked.

    `evidence`: of a fault that it is for, on this machine: its effect is done for real. `directory`: where relative
    paths start. Answers with the first candidate. Raises AssertionError.
    """
    remedy = load_remedy(plugin_named(PluginKind.REMEDY, name), {})
    known = {evidence.service: service} if services is None else services
    context = RemedyContext(evidence.service, known)
    proposed = tuple(remedy.propose(evidence, service, context))
    require(proposed, f"{name} proposes nothing for this evidence")
    require(
        proposed == tuple(remedy.propose(evidence, service, context)),
        f"{name} proposes something else for the same evidence; `propose` must be pure: no clock, no files, no network",
    )
    for candidate in proposed:
        require(
            candidate.remedy.split(":")[0] == name, f"a candidate is called {candidate.remedy}; use self.candidate(…)"
        )
        require(candidate.cause, "a candidate says which cause it is for")
        used = {type(action) for action in candidate.actions}
        require(used <= set(remedy.uses), f"{name} proposes actions that are not in its `uses`")
        Candidate.model_validate_json(candidate.model_dump_json())
    database = Database(_UNUSED_DATABASE)
    host = HostServices(StatePaths(directory / ".brainops-state"), directory)
    try:
        objects = ObjectStore(host.paths.objects)
        known_good = KnownGoodFiles(KnownGoodStore(database), objects, directory)
        tools = HostTools(host, known_good, objects, host.paths, directory.absolute(), known)
        for action in proposed[0].actions:
            if isinstance(action, PluginAction):
                require(action.plugin == name, f"the action names the plugin {action.plugin!r}, not {name!r}")
                await _assert_handled(remedy.handlers[0](tools), action, service)
    finally:
        await host.close()
        await database.close()
    return proposed[0]


async def _assert_handled(handler: Handler[Any], action: PluginAction, service: Service) -> None:
    call = Call(action.service, service, _EFFECT_KEY)
    wrong = action.model_copy(update={"arguments": {**action.arguments, "an_argument_that_nobody_declares": 1}})
    try:
        await handler.reconcile(wrong, call)
    except NotAllowedError:
        pass
    else:
        raise AssertionError('the arguments take what nobody declares; give the model ConfigDict(extra="forbid")')
    handler.authorize(action, call)
    before = await handler.reconcile(action, call)
    require(before is None, f"`look` says that it has happened before it was done: {before}")
    first = await handler.perform(action, call)
    require(first.ok, f"it was not done: {first}")
    again = await handler.perform(action, call)
    require(again.ok, f"a repetition under the same effect key must finish what was begun and no more: {again}")
    after = await handler.reconcile(action, call)
    require(bool(after and after.ok), "`look` must see that the effect has happened")
