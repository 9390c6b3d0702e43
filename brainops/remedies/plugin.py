"""Remedies of packages from elsewhere (entry points `brainops.remedies`), and what carries their own effects out.

A package's effect is a `PluginAction`, which names the remedy that it belongs to. There is no remedy in this file.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from brainops.config.plugins import Plugin
from brainops.contracts.action import ActionResult, PluginAction
from brainops.contracts.agent import ActionClass
from brainops.errors import ActionError, BrainOpsError, NotAllowedError
from brainops.remedies.base import Call, Handler, HostTools, Remedy
from brainops.telemetry.redaction import clean

ArgumentsT = TypeVar("ArgumentsT", bound=BaseModel)


class PackageHandler(Handler[PluginAction], Generic[ArgumentsT]):
    """Carries out the effect of one remedy of a package. Subclassed there, and named in the remedy's `handlers`."""

    action = PluginAction
    arguments: ClassVar[type[BaseModel]]
    """What the action's `arguments` must be. Nothing else reaches the handler."""

    async def perform(self, action: PluginAction, call: Call, /) -> ActionResult:
        return await self.do(self._read(action), call)

    async def reconcile(self, action: PluginAction, call: Call, /) -> ActionResult | None:
        return await self.look(self._read(action), call)

    @abstractmethod
    async def do(self, arguments: ArgumentsT, call: Call, /) -> ActionResult:
        """Do it; a repetition under the same `call.effect_key` does no more than finish it.

        Raises ActionError when it was done and failed, UnavailableError when trying again can help.
        """

    @abstractmethod
    async def look(self, arguments: ArgumentsT, call: Call, /) -> ActionResult | None:
        """Look, without changing anything, whether this key's effect has happened. None: it may be done."""

    def _read(self, action: PluginAction) -> Any:
        """The arguments. Any: of the package's own type. Raises NotAllowedError."""
        try:
            return self.arguments.model_validate(action.arguments)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in wrong["loc"]) or "arguments"
            raise NotAllowedError(f"{action.plugin} does not take this action: {where}: {wrong['msg']}"[:500]) from None


class PluginDispatch(Handler[PluginAction]):
    """Hands an action on to the package whose remedy it names, and stands by what the package does not."""

    action = PluginAction

    def __init__(self, tools: HostTools, handlers: Mapping[str, Handler[Any]]) -> None:
        super().__init__(tools)
        self._handlers = handlers

    def authorize(self, action: PluginAction, call: Call, /) -> None:
        handler = self._of(action)
        try:
            handler.authorize(action, call)
        except BrainOpsError:
            raise
        except Exception as error:
            raise NotAllowedError(str(_failed(action, error))) from error

    async def perform(self, action: PluginAction, call: Call, /) -> ActionResult:
        try:
            return await self._of(action).perform(action, call)
        except BrainOpsError:
            raise
        except Exception as error:
            raise _failed(action, error) from error

    async def reconcile(self, action: PluginAction, call: Call, /) -> ActionResult | None:
        try:
            return await self._of(action).reconcile(action, call)
        except BrainOpsError:
            raise
        except Exception as error:
            raise _failed(action, error) from error

    def _of(self, action: PluginAction) -> Handler[Any]:
        handler = self._handlers.get(action.plugin)
        if handler is None:
            raise NotAllowedError(
                f"no package on this host carries out {action.plugin[:100]!r}; install it in the environment of BrainOps"
            )
        return handler


def load_remedy(plugin: Plugin, taken: Mapping[str, Remedy]) -> Remedy:
    """The remedy of an entry point, made and examined. `taken`: those of that name are used already.

    Raises SetupError that names the package and what is wrong with it.
    """
    kind = plugin.load()
    if not (isinstance(kind, type) and issubclass(kind, Remedy)):
        raise plugin.broken("it is no subclass of brainops.remedies.base.Remedy")
    missing = [name for name in ("name", "action_class", "cost", "rank", "uses") if not hasattr(kind, name)]
    if missing:
        raise plugin.broken(f"it lacks {', '.join(missing)}")
    if kind.name != plugin.name:
        raise plugin.broken(f"its name is {kind.name!r} and its entry point is called {plugin.name!r}")
    if kind.name in taken:
        raise plugin.broken("there is another remedy of this name")
    if kind.action_class is not ActionClass.PLUGIN:
        raise plugin.broken("its action_class must be ActionClass.PLUGIN")
    if any(not issubclass(handler, PackageHandler) for handler in kind.handlers):
        raise plugin.broken("its handlers must be subclasses of brainops.remedies.plugin.PackageHandler")
    if (PluginAction in kind.uses) != (len(kind.handlers) == 1):
        raise plugin.broken("one handler and PluginAction in `uses` belong together")
    try:
        return kind()
    except Exception as error:
        raise plugin.broken(f"{type(error).__name__}: {error}") from error


def _failed(action: PluginAction, error: Exception) -> ActionError:
    return ActionError(clean(f"{action.plugin} of a package failed: {type(error).__name__}: {error}"))
