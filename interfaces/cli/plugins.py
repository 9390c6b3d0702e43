"""`brainops plugins`: what packages from elsewhere bring, where it comes from, and whether it can be used."""

from typing import Annotated

import typer
from pydantic import BaseModel

from brainops.checks.plugin import PackageProbe
from brainops.config.plugins import Plugin, PluginKind, check_options, installed
from brainops.contracts.names import REMEDY_NAMES
from brainops.errors import SetupError
from brainops.remedies.plugin import load_remedy
from brainops.telemetry.redaction import clean
from brainops.tools.registry import load_tool
from interfaces.cli.display import print_json, say, table


class PluginRow(BaseModel):
    """One check, remedy or tool of a package."""

    kind: str
    name: str
    package: str
    version: str
    usable: bool
    problem: str = ""
    """Why it is left out."""


class PluginList(BaseModel):
    """`brainops plugins --json`."""

    plugins: list[PluginRow]


def plugins(
    json: Annotated[bool, typer.Option("--json", help="One JSON document for programs.")] = False,
) -> None:
    """List the checks, remedies and tools that installed packages bring, and load each of them once.

    Exit code 1: one of them cannot be used.
    """
    rows = [_row(plugin) for kind in PluginKind for plugin in installed(kind)]
    if json:
        print_json(PluginList(plugins=rows))
    elif rows:
        cells = [(row.kind, row.name, f"{row.package} {row.version}", row.problem or "usable") for row in rows]
        say(table("Plugins", ("kind", "name", "package", "state"), cells, elastic="state"))
    else:
        say("No package brings checks, remedies or tools. docs/plugins.md tells how to write one.")
    if any(not row.usable for row in rows):
        raise typer.Exit(1)


def _row(plugin: Plugin) -> PluginRow:
    problem = ""
    try:
        _examine(plugin)
    except SetupError as error:
        problem = clean(str(error))
    return PluginRow(
        kind=plugin.kind.name.lower(),
        name=plugin.name,
        package=plugin.package,
        version=plugin.version,
        usable=not problem,
        problem=problem,
    )


def _examine(plugin: Plugin) -> None:
    if plugin.kind is PluginKind.CHECK:
        kind = plugin.load()
        if not (isinstance(kind, type) and issubclass(kind, PackageProbe)):
            raise plugin.broken("it is no subclass of brainops.checks.plugin.PackageProbe")
        check_options(plugin)
    elif plugin.kind is PluginKind.REMEDY:
        if plugin.name in REMEDY_NAMES:
            raise plugin.broken("BrainOps has a remedy of this name")
        load_remedy(plugin, {})
    else:
        load_tool(plugin)
