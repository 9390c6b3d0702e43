"""The first `brainops.yaml`, as a person would want to read it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

import yaml

from brainops.telemetry.redaction import clean, printable
from interfaces.setup.found import Found, Survey

_WIDTH = 112
_LONGEST_COMMENT = 200

_TITLES = {
    "compose": "Compose services",
    "docker": "Containers",
    "systemd": "Systemd units",
    "port": "Processes that listen, and that nobody starts again when they end",
    "host": "This machine",
}

_HEAD = """\
# Written by `brainops init` on {date}, from what it found on this machine. It is yours now: change what you like.
# `brainops config check brainops.yaml` tells every mistake with its line; `brainops config schema` is for your editor.
#
# Every service is in `autonomy: observe`: BrainOps looks on, and says in each incident what it would have done.
# Nothing is started, stopped or changed. The ladder goes observe → suggest → approve (it asks you) → act;
# `brainops promote NAME` shows what was seen and takes a service up.
#
# Under checks: kind http asks a page, tcp opens a connection, health is the container's own health check. Further
# kinds: process, dns, postgres, command, host, log, heartbeat (docs/checks.md).
"""

_TEACH = """\
# What else a service may say:
#
#     depends_on: [db]                    # while db fails, what fails here is part of that incident
#     limits: {{memory: 500MB}}             # more is a fault
#     files: [{{path: /etc/web.conf}}]      # kept while it is healthy, put back when it is broken
#     folders: [{{path: tmp, limit: 1GB, clean: ["*.tmp"]}}]
#     autonomy: {{restart: act}}            # only that, and look on otherwise
#
# Who is told (https://github.com/caronc/apprise for the addresses; ${{NAME}} is a variable of BrainOps' own):
#
#     notify:
#       channels:
#         ops: {{url: "${{OPS_CHANNEL_URL}}"}}
"""


def first_file(survey: Survey, now: datetime) -> str:
    """The text of the file."""
    parts = [_HEAD.format(date=f"{now:%Y-%m-%d}"), "\nservices:\n"]
    for source, title in _TITLES.items():
        of_source = [service for service in survey.services if service.source == source]
        if of_source:
            parts.append(f"  # {title}\n\n")
            parts.extend(entry(service) + "\n" for service in of_source)
    if survey.repositories:
        parts.append("# Git repositories in this folder (nothing is done with them yet):\n")
        parts.extend(_comments(survey.repositories, "#   "))
        parts.append("\n")
    if survey.unseen:
        parts.append("# What could not be looked at:\n")
        parts.extend(_comments(survey.unseen, "#   "))
        parts.append("\n")
    parts.append(_TEACH.format())
    return "".join(parts)


def entry(service: Found) -> str:
    """One service of the file, with what was found as its comment."""
    lines = [f"  # {_line(service.what)}", *(f"  # {_line(hint)}" for hint in service.hints)]
    if service.process is not None and service.run["kind"] == "external":
        lines += hand_over_lines(service)
    lines.append(f"  {service.name}:")
    lines += run_lines(service)
    if service.checks:
        lines.append("    checks:")
        lines += [f"      {name}: {flow(check)}" for name, check in service.checks.items()]
    if service.depends_on:
        lines.append(f"    depends_on: {flow(list(service.depends_on))}")
    if service.ports and service.run["kind"] == "process":
        lines.append(f"    ports: {flow(list(service.ports))}")
    lines.append("    autonomy: observe")
    return "\n".join(lines) + "\n"


def run_lines(service: Found) -> list[str]:
    """`run:` of a service: one line, or one for each key where that is too long or holds a command."""
    whole = f"    run: {flow(service.run)}"
    if len(whole) <= _WIDTH and service.run["kind"] != "process":
        return [whole]
    lines = ["    run:"]
    for key, value in service.run.items():
        if isinstance(value, dict):
            lines.append(f"      {key}:")
            lines += [f"        {name}: {flow(inner)}" for name, inner in cast("dict[str, Any]", value).items()]
        else:
            lines.append(f"      {key}: {flow(value)}")
    return lines


def flow(value: Any) -> str:
    """A value in one line of YAML, quoted where it has to be. Any: whatever the file may hold."""
    text = _dumped(value, readable=True)
    return text if text.isprintable() else _dumped(value, readable=False)


def _dumped(value: Any, *, readable: bool) -> str:
    """`readable`: letters of other scripts as they are, and not as escapes. Any: as `flow`."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1 << 20, allow_unicode=readable)
    return text.removesuffix("\n").removesuffix("\n...")


def hand_over_lines(service: Found) -> list[str]:
    """The comment that says how a process is handed over; none of one that cannot be."""
    seen = service.process
    if seen is None:
        return []
    run = f"  #   run: {{command: {flow(list(seen.command))}, directory: {flow(seen.directory)}}}"
    fits = len(run) <= _LONGEST_COMMENT and _line(run) == " ".join(run.split())
    first = f"  # To hand it over to BrainOps as it runs: brainops init --adopt {service.name}   (nothing is restarted)"
    return [f"{first}. Then:", run] if fits else [first]


def _comments(lines: Iterable[str], before: str) -> list[str]:
    return [f"{before}{_line(line)}\n" for line in lines]


def _line(text: str) -> str:
    """One line for a comment: nothing that ends it, and no secret."""
    return printable(" ".join(clean(text).split()))[:300]
