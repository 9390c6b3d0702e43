"""Compose files in and under a folder, and the services that they describe."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from brainops.config.document import MAX_BYTES, Plain, read
from interfaces.setup.found import Found, as_name, unique

FILE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""As Compose itself looks for them, the first that is there."""

MOST_FOLDERS = 2000
MOST_DEPTH = 3
_SKIPPED = frozenset(("node_modules", "vendor", "__pycache__", "venv", "site-packages", "dist", "build", "target"))


def folders_under(folder: Path) -> Iterator[Path]:
    """`folder` and what is under it, three levels deep at most; without hidden and generated ones."""
    pending = [(folder, 0)]
    seen = 0
    while pending and seen < MOST_FOLDERS:
        here, depth = pending.pop(0)
        seen += 1
        yield here
        if depth == MOST_DEPTH:
            continue
        try:
            with os.scandir(here) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            continue
        pending.extend((here / name, depth + 1) for name in names if name[0] != "." and name not in _SKIPPED)


def compose_services(folder: Path) -> tuple[list[Found], list[str]]:
    """The services of every Compose file under `folder`, and a sentence for each file that cannot be read."""
    services: list[Found] = []
    unseen: list[str] = []
    for here in folders_under(folder):
        path = next((here / name for name in FILE_NAMES if (here / name).is_file()), None)
        if path is None:
            continue
        shown = path.relative_to(folder)
        try:
            declared = _declared(path)
        except (OSError, ValueError) as error:
            unseen.append(f"{shown} was passed over: {error}")
            continue
        taken = {service.name for service in services}
        services.extend(_of_file(folder, path, declared, taken))
    return services, unseen


def _declared(path: Path) -> dict[str, Plain]:
    """What stands under `services:`. Raises OSError, ValueError."""
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError("it is larger than 1 MB")
    document = read(raw.decode("utf-8-sig"))
    if document.faults:
        fault = document.faults[0]
        raise ValueError(f"line {fault.position.line}: {fault.message}")
    root = document.value if isinstance(document.value, dict) else {}
    services = root.get("services")
    if not isinstance(services, dict) or not services:
        raise ValueError("it describes no services")
    return services


def _of_file(folder: Path, path: Path, declared: dict[str, Plain], taken: set[str]) -> Iterator[Found]:
    names: dict[str, str] = {}
    for service in declared:
        names[service] = unique(as_name(service), {*taken, *names.values()}, as_name(path.parent.name, ""))
    files = [str(path.relative_to(folder))]
    override = path.with_name(f"{path.stem}.override{path.suffix}")
    if override.is_file():
        files.append(str(override.relative_to(folder)))
    for service, value in declared.items():
        entry = value if isinstance(value, dict) else {}
        ports = tuple(dict.fromkeys(_published(entry)))
        image = entry.get("image")
        yield Found(
            name=names[service],
            source="compose",
            what=f"{files[0]}: service {service}" + (f", image {image}" if isinstance(image, str) else ", built here"),
            run={"kind": "compose", "service": service, "files": files},
            checks=_health(entry),
            ports=ports,
            depends_on=tuple(names[other] for other in _depends_on(entry) if other in names and other != service),
        )


def _health(entry: dict[str, Plain]) -> dict[str, dict[str, Any]]:
    declared = entry.get("healthcheck")
    if not isinstance(declared, dict) or declared.get("disable") is True or declared.get("test") in (None, ["NONE"]):
        return {}
    return {"health": {"kind": "health"}}


def _depends_on(entry: dict[str, Plain]) -> list[str]:
    declared = entry.get("depends_on")
    if isinstance(declared, dict):
        return list(declared)
    return [name for name in declared if isinstance(name, str)] if isinstance(declared, list) else []


def _published(entry: dict[str, Plain]) -> Iterator[int]:
    """Ports of the machine, of the short and the long form; those of ranges and of variables are passed over."""
    declared = entry.get("ports")
    for port in declared if isinstance(declared, list) else []:
        if isinstance(port, dict):
            text, protocol = str(port.get("published", "")), str(port.get("protocol", "tcp"))
        else:
            whole, _, protocol = str(port).partition("/")
            parts = whole.rsplit(":", 2)
            text = parts[-2] if len(parts) > 1 else ""
        if text.isascii() and text.isdigit() and protocol in ("", "tcp") and 1 <= int(text) <= 65535:
            yield int(text)
