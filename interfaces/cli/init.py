"""`brainops init`: a first `brainops.yaml` from what runs on this machine."""

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from brainops.config.load import check_config, told
from brainops.config.paths import StatePaths
from brainops.errors import BadInputError
from interfaces.cli.display import plain, print_json, say, table
from interfaces.setup import editing
from interfaces.setup.adoption import as_process, chosen, hand_over
from interfaces.setup.first_file import first_file, hand_over_lines, run_lines
from interfaces.setup.found import Found, Survey
from interfaces.setup.location import FILE_NAME
from interfaces.setup.survey import survey

Folder = Annotated[Path, typer.Argument(help="Folder of the file; Compose files in and under it are read.")]
Force = Annotated[bool, typer.Option("--force", help="Write anew where a file is; the old one is kept beside it.")]
Stdout = Annotated[bool, typer.Option("--stdout", help="Print the file, and write nothing.")]
Json = Annotated[bool, typer.Option("--json", help="What was found, as one JSON document; write nothing.")]
Adopt = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PORT|NAME", help="Hand a listening process over to BrainOps as it runs. Several times for several."
    ),
]


class InitAnswer(BaseModel):
    """`brainops init --json`."""

    file: str
    found: Survey


def init(
    folder: Folder = Path(),
    force: Force = False,
    stdout: Stdout = False,
    json: Json = False,
    adopt: Adopt = None,
) -> None:
    """Look for services on this machine, and describe them in a first file. Nothing else is changed.

    With --adopt, a process that nobody starts again becomes a service of kind process; where a file is already, only
    that service is changed in it.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is no folder; name the one that the file is to stand in")
    file = folder / FILE_NAME
    exists = file.exists()
    if exists and not (force or stdout or json or adopt):
        raise BadInputError(
            f"{file} is there already, and nothing was changed; --force writes a new one and keeps a copy, "
            "--stdout prints what it would hold, --adopt NAME hands one process over"
        )
    found = asyncio.run(survey(folder.absolute(), StatePaths.default()))
    adopted = [as_process(chosen(found, wanted)) for wanted in dict.fromkeys(adopt or ())]
    if json:
        print_json(InitAnswer(file=str(file), found=_with_adopted(found, adopted)))
        return
    if adopted and exists and not (force or stdout):
        _adopt_into(file, adopted)
        return
    text = first_file(_with_adopted(found, adopted), datetime.now().astimezone())
    if mistakes := check_config(text, file):
        raise BadInputError(f"what was found does not make a file that can be used: {told(mistakes)}")
    if stdout:
        sys.stdout.write(text)
        return
    _write(file, text)
    _hand_over(adopted)
    _tell(file, _with_adopted(found, adopted))


def _with_adopted(found: Survey, adopted: list[Found]) -> Survey:
    by_name = {service.name: service for service in adopted}
    return found.model_copy(update={"services": tuple(by_name.get(one.name, one) for one in found.services)})


def _write(file: Path, text: str) -> None:
    if file.exists():
        copy = editing.save(file, text, datetime.now().astimezone())
        say(f"The earlier file is kept as {copy.name}.")
        return
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(text)
    except OSError as error:
        raise BadInputError(f"{file} cannot be written: {error.strerror}; name a folder of yours") from error


def _adopt_into(file: Path, adopted: list[Found]) -> None:
    """Change only these services in a file that is there."""
    text = file.read_text(encoding="utf-8-sig")
    for service in adopted:
        text = editing.set_run(text, service.name, run_lines(service))
        for line in hand_over_lines(service):
            text = text.replace(f"{line}\n", "", 1)
    if mistakes := check_config(text, file):
        raise BadInputError(f"nothing was changed; {told(mistakes)}")
    _hand_over(adopted)
    copy = editing.save(file, text, datetime.now().astimezone())
    names = " and ".join(service.name for service in adopted)
    say(
        f"{file}: {names} now run{'s' * (len(adopted) == 1)} as BrainOps' own, by the command line of now. "
        f"The earlier file is kept as {copy.name}.",
        *(plain(hint) for service in adopted for hint in service.hints),
        "It takes effect with `brainops up`; a stack that runs reads it with `brainops apply`.",
        f"Let BrainOps act on it: brainops promote {adopted[0].name}",
    )


def _hand_over(adopted: list[Found]) -> None:
    for service in adopted:
        run = hand_over(service, StatePaths.default())
        say(f"{service.name}: process {run.pid} is BrainOps' to watch now, and was not touched.")


def _tell(file: Path, found: Survey) -> None:
    services = [service for service in found.services if service.source != "host"]
    count = f"{len(services)} service{'s' * (len(services) != 1)}" if services else "no services yet"
    say(plain(f"{file}: {count} and the machine itself, all in `autonomy: observe`.", "bold"))
    rows = [
        (service.name, str(service.run["kind"]), ", ".join(service.checks) or "-", service.what)
        for service in found.services
    ]
    say(table("Found", ("service", "kind", "checks", "as"), rows, elastic="as"))
    if found.unseen:
        say(plain("Not looked at", "bold"), *(f"  {sentence}" for sentence in found.unseen), "")
    alone = [service.name for service in found.services if service.process and service.run["kind"] == "external"]
    if alone:
        say(f"Nobody starts {', '.join(alone[:5])} again. To let BrainOps: brainops init --adopt {alone[0]}", "")
    example = services[0].name if services else "machine"
    say(
        plain("What comes next", "bold"),
        "  brainops doctor      is everything in place, and can each service be seen",
        "  brainops up          start watching; nothing is done to any service",
        f"  brainops simulate {example} --fault {'crash' if services else 'full'}"
        "      what would be done, without doing it",
    )
