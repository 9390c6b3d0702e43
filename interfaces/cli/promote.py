"""`brainops promote`: let a service be healed, by what was seen while BrainOps only looked on."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from brainops.config.load import LoadedConfig, check_config, reload_config, told
from brainops.config.models import Service
from brainops.contracts.agent import ActionClass, Autonomy
from brainops.database.engine import Database
from brainops.errors import BadInputError
from brainops.incidents.store import IncidentStore
from interfaces.cli.display import ago, duration, plain, print_json, say, table
from interfaces.cli.names import unknown
from interfaces.setup import editing
from interfaces.setup.first_file import flow
from interfaces.setup.location import config_file, running_stack
from interfaces.setup.shadow import MOST_INCIDENTS, Shadow, judge, recommended_levels

Name = Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Name of the service. Default: how all stand.")]
To = Annotated[Autonomy | None, typer.Option("--to", help="This level for everything. Default: what is recommended.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the line, and change nothing.")]
Config = Annotated[
    Path | None, typer.Option(help="The configuration file.", show_default="the stack's, else ./brainops.yaml")
]
Json = Annotated[bool, typer.Option("--json", help="What was seen and is recommended, as JSON; change nothing.")]


_UNREAD = {"reason": "no stack runs, so what was seen cannot be read; it asks before it acts"}


class PromoteAnswer(BaseModel):
    """`brainops promote --json`."""

    file: str
    shadows: tuple[Shadow, ...]


def promote(
    service: Name = None,
    to: To = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show what BrainOps would have done for a service, and let it do so: edits `autonomy` in the file, nothing else."""
    file = config_file(config)
    loaded = reload_config(file)
    if service is not None and service not in loaded.config.services:
        raise unknown("service", service, set(loaded.config.services))
    names = [service] if service is not None else list(loaded.config.services)
    shadows = asyncio.run(_shadows(loaded, names))
    if json:
        print_json(PromoteAnswer(file=str(file), shadows=tuple(shadows)))
    elif service is None:
        _overview(loaded, shadows)
    else:
        _show(shadows[0])
        _promote(file, loaded, service, _new_autonomy(loaded.config.services[service], shadows[0], to), yes, dry_run)


async def _shadows(loaded: LoadedConfig, names: list[str]) -> list[Shadow]:
    """One query for each service, of its incidents; none where no stack has ever run."""
    stack = running_stack()
    url = stack.database_url if stack is not None else os.environ.get("BRAINOPS_DATABASE_URL")
    services = loaded.config.services
    if not url:
        return [judge(name, (), services[name].recover_within).model_copy(update=_UNREAD) for name in names]
    database = Database(url, pool_size=2)
    try:
        if len(names) == 1:
            rows = await IncidentStore(database).list(limit=MOST_INCIDENTS, service=names[0])
        else:
            rows = await IncidentStore(database).list(limit=MOST_INCIDENTS)
    finally:
        await database.close()
    return [judge(name, [row for row in rows if row.service == name], services[name].recover_within) for name in names]


def _overview(loaded: LoadedConfig, shadows: list[Shadow]) -> None:
    rows: list[tuple[str, ...]] = []
    for shadow in shadows:
        service = loaded.config.services[shadow.service]
        recommended, because = shadow.recommended.value, shadow.reason
        if _is_nobodys(service):
            recommended, because = "-", f"nobody here starts it; hand it over: brainops init --adopt {shadow.service}"
        rows.append((shadow.service, _printed(service), str(shadow.incidents), recommended, because))
    say(
        table("Autonomy", ("service", "now", "incidents", "recommended", "because"), rows, elastic="because"),
        "Promote one with `brainops promote SERVICE`.",
    )


def _show(shadow: Shadow) -> None:
    if shadow.since is not None:
        say(
            f"{shadow.service}: {shadow.incidents} incident{'s' * (shadow.incidents != 1)}, the first {ago(shadow.since)}"
            + (f"; for {shadow.unexplained} no remedy was found" if shadow.unexplained else "")
        )
    rows = [
        (
            one.remedy.replace("_", " "),
            str(one.incidents),
            str(one.needless),
            duration(one.lasted_seconds) if one.lasted_seconds else "-",
            one.recommended.value,
            one.reason,
        )
        for one in shadow.remedies
    ]
    if rows:
        columns = ("would do", "times", "needless", "lasted", "recommended", "because")
        say(table("What BrainOps would have done", columns, rows, elastic="because"))
    say(f"Recommended for {shadow.service}: {shadow.recommended.value} ({shadow.reason})")


def _new_autonomy(service: Service, shadow: Shadow, to: Autonomy | None) -> Autonomy | dict[ActionClass, Autonomy]:
    """One level for everything, or one for each action class that was seen. Without `to` no level is lowered."""
    if to is not None:
        return to
    before = service.autonomy
    if isinstance(before, Autonomy) and before is not Autonomy.OBSERVE:
        return max(before, shadow.recommended, key=lambda level: level.rank)
    present = before if isinstance(before, dict) else {}
    raised = {
        action_class: max(level, present.get(action_class, level), key=lambda one: one.rank)
        for action_class, level in recommended_levels(shadow).items()
    }
    return {**present, **raised} if present or raised else shadow.recommended


def _promote(
    file: Path,
    loaded: LoadedConfig,
    name: str,
    wanted: Autonomy | dict[ActionClass, Autonomy],
    yes: bool,
    dry_run: bool,
) -> None:
    service = loaded.config.services[name]
    if _is_nobodys(service):
        _refuse_external(name, wanted)
    if wanted == service.autonomy:
        say(f"{name} has that autonomy already: {_printed(service)}")
        return
    value = (
        wanted.value if isinstance(wanted, Autonomy) else flow({key.value: one.value for key, one in wanted.items()})
    )
    text = file.read_text(encoding="utf-8-sig")
    changed = editing.set_autonomy(text, name, value)
    if mistakes := check_config(changed, file):
        raise BadInputError(f"nothing was changed; {told(mistakes)}")
    say("", plain(f"services.{name}:", "bold"), plain(f"- autonomy: {_printed(service)}", "red"),
        plain(f"+ autonomy: {value}", "green"))  # fmt: skip
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise BadInputError("nobody can be asked here; add --yes, or --dry-run to look only")
        if not typer.confirm(f"Change {file}?", default=False):
            say("Nothing was changed.")
            return
    copy = editing.save(file, changed, datetime.now(UTC).astimezone())
    say(f"{file} is changed; the earlier one is kept as {copy.name}.")
    if running_stack() is not None:
        say("It takes effect once the running stack has read it: brainops apply")
    else:
        say("It takes effect with the next `brainops up`.")


def _is_nobodys(service: Service) -> bool:
    return not service.may_be_started and service.run.kind == "external"


def _refuse_external(name: str, wanted: Autonomy | dict[ActionClass, Autonomy]) -> None:
    if isinstance(wanted, dict) or wanted.rank > Autonomy.SUGGEST.rank:
        raise BadInputError(
            f"{name} is of kind external: nobody here starts it, so there is nothing to let BrainOps do. Hand it over "
            f"first, as it runs: brainops init --adopt {name}"
        )


def _printed(service: Service) -> str:
    if isinstance(service.autonomy, Autonomy):
        return service.autonomy.value
    return flow({key.value: level.value for key, level in service.autonomy.items()})
