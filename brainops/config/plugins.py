"""Packages from elsewhere: what is installed, where it comes from, and whether it loads.

A package names what it brings as entry points of three groups. A broken one never stops BrainOps: it is named and
left out.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from brainops.config.document import Path, Plain
from brainops.config.mistakes import Finding, one_of
from brainops.errors import SetupError

_LONGEST = 300


class PluginKind(StrEnum):
    """What a package can bring. The value is the group of its entry points."""

    CHECK = "brainops.checks"
    REMEDY = "brainops.remedies"
    TOOL = "brainops.tools"


@dataclass(frozen=True)
class Plugin:
    """One thing that a package brings. Nothing of the package has been run yet."""

    kind: PluginKind
    name: str
    """Of the entry point: what configuration, knowledge and actions call it."""
    package: str
    version: str
    point: EntryPoint

    @property
    def origin(self) -> str:
        """`package 1.2`."""
        return f"{self.package} {self.version}".strip()

    def load(self) -> Any:
        """What the entry point names. Any: a class of the package. Raises SetupError with the remedy."""
        try:
            return self.point.load()
        except (Exception, SystemExit) as error:
            raise self.broken(f"{type(error).__name__}: {error}") from error

    def broken(self, why: str) -> SetupError:
        """The error for a person: which package is wrong with what."""
        thing = self.kind.value.partition(".")[2].removesuffix("s").replace("remedie", "remedy")
        return SetupError(
            f"the {thing} {self.name} of {self.origin} cannot be used: {' '.join(why.split())[:_LONGEST]}; "
            f"update or uninstall {self.package}"
        )


def installed(kind: PluginKind) -> tuple[Plugin, ...]:
    """What is installed of a kind, by name. Of several of one name each is there; the first is used."""
    found = (_plugin(kind, point) for point in entry_points(group=kind.value))
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.package)))


def find(kind: PluginKind, name: str) -> Plugin:
    """The plugin of a name. Raises SetupError that names what is installed."""
    known = installed(kind)
    for plugin in known:
        if plugin.name == name:
            return plugin
    raise SetupError(f"there is no {kind.name.lower()} {name!r} installed; {_meant(name, known)}")


def check_options(plugin: Plugin) -> type[BaseModel]:
    """The model of a check's options. Raises SetupError."""
    model = getattr(plugin.load(), "options", None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise plugin.broken("it has no `options`, a pydantic model of what the file says")
    return model


def find_plugin_mistakes(path: Path, service: Mapping[str, Plain]) -> Iterator[Finding]:
    """What the plugin checks of a service name and this machine has not, and options that their packages refuse."""
    checks = service.get("checks")
    for name, value in cast("dict[str, Plain]", checks).items() if isinstance(checks, dict) else ():
        if isinstance(value, dict) and value.get("kind") == "plugin" and isinstance(value.get("use"), str):
            yield from _check_mistakes((*path, "checks", name), value)


def _check_mistakes(path: Path, check: dict[Any, Plain]) -> Iterator[Finding]:
    use = str(check["use"])
    known = installed(PluginKind.CHECK)
    plugin = next((one for one in known if one.name == use), None)
    if plugin is None:
        yield Finding((*path, "use"), f"no package brings a check {use[:100]!r}", _meant(use, known))
        return
    try:
        model = check_options(plugin)
    except SetupError as error:
        message, _, remedy = str(error).rpartition("; ")
        yield Finding((*path, "use"), message, remedy)
        return
    options = check.get("options", {})
    if not isinstance(options, dict):
        return  # the file's own model says so
    try:
        model.model_validate(options)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False)[:20]:
            where = (*path, "options", *found["loc"])
            known_keys = one_of(tuple(model.model_fields)) if model.model_fields else "nothing"
            message = "is missing" if found["type"] == "missing" else f"is not allowed: {found['msg'][:200]}"
            yield Finding(where, message, f"{plugin.origin} knows here: {known_keys}")


def _plugin(kind: PluginKind, point: EntryPoint) -> Plugin:
    package = point.dist.name if point.dist is not None else "a package without a name"
    version = point.dist.version if point.dist is not None else ""
    return Plugin(kind, point.name, package, version, point)


def _meant(name: str, known: tuple[Plugin, ...]) -> str:
    names = [plugin.name for plugin in known]
    if not names:
        return "install the package that brings it into the environment of BrainOps"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}installed: {one_of(names)}"
