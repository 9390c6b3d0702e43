"""`brainops config`: check the configuration, print its JSON schema, show what holds."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
import yaml

from brainops.config.load import find_mistakes, load_config, told
from brainops.config.models import BrainOpsConfig
from brainops.config.schema import json_schema
from brainops.errors import BrainOpsError
from brainops.memory.runbooks import find_runbook_mistakes
from brainops.remedies.registry import remedy_names
from brainops.telemetry.redaction import redact_value
from interfaces.cli.errors import ExitCode, leave
from interfaces.setup.location import config_file

app = typer.Typer(
    name="config",
    help="Check brainops.yaml; print its JSON schema; show what holds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

File = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="The configuration file.", show_default="the stack's, else ./brainops.yaml"),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


@app.command()
def check(named: File = None, as_json: Json = False) -> None:
    """Tell every mistake of a file and of its runbooks, with line, field and remedy. Exit code 2 if there is one."""
    config: BrainOpsConfig | None = None
    try:
        file = config_file(named)
        mistakes = find_mistakes(file)
        if not mistakes:
            loaded = load_config(file)
            mistakes = find_runbook_mistakes(loaded.directory, loaded.config.runbooks, remedy_names())
            config = None if mistakes else loaded.config
    except BrainOpsError as error:
        leave(error)
    if as_json:
        typer.echo(json.dumps({"file": str(file), "mistakes": [asdict(mistake) for mistake in mistakes]}, indent=2))
    elif config is None:
        typer.echo(told(mistakes), err=True)
    else:
        typer.echo(f"{file}: no mistakes; {_counted(config)}")
    if mistakes:
        raise typer.Exit(ExitCode.BAD_INPUT)


@app.command()
def schema() -> None:
    """Print the JSON schema, for editors: `brainops config schema > brainops.schema.json`."""
    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def show(named: File = None, as_json: Json = False) -> None:
    """Print what holds: the file's values and the defaults of everything it does not say."""
    try:
        config = load_config(config_file(named)).config
    except BrainOpsError as error:
        leave(error)
    values = redact_value(config.model_dump(mode="json"))
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    else:
        typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


def _counted(config: BrainOpsConfig) -> str:
    services = len(config.services)
    checks = sum(len(service.all_checks()) for service in config.services.values())
    return f"{services} service{'s' * (services != 1)}, {checks} check{'s' * (checks != 1)}"
