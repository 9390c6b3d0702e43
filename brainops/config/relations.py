"""What no single value shows: services that name each other, and values that contradict each other.

These look at the plain values and not at the models, so that they are told together with wrong values elsewhere in
the file. A value of the wrong shape is passed over here; the models report it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

from brainops.config.check_rules import find_check_contradictions
from brainops.config.checks import PROCESS_CHECK
from brainops.config.document import Path, Plain
from brainops.config.environment import is_variable_name, references
from brainops.config.kinds import find_kind_contradictions
from brainops.config.mistakes import Finding, nearest, one_of, printed
from brainops.config.models import LOCAL_HOST
from brainops.config.noise import find_noise_contradictions
from brainops.config.plugins import PluginKind, installed
from brainops.config.quantities import parse_duration, parse_size
from brainops.contracts.names import REMEDY_NAMES

_MOST_CYCLES = 10
_DEFAULT_TIMEOUT = "1s"

Values = Mapping[str, Plain]
Quantity = TypeVar("Quantity")


def find_contradictions(root: Plain) -> Iterator[Finding]:
    """Every mistake of `root` that is one only beside something else."""
    services = mapping(mapping(root).get("services"))
    for name, service in services.items():
        if isinstance(service, dict):
            for rule in _RULES:
                yield from rule(("services", name), service)
            yield from _unknown_dependencies(name, service, services)
    yield from _cycles(services)
    yield from _shared_ports(services)
    yield from find_noise_contradictions(mapping(root))


def mapping(value: Plain) -> Values:
    """`value` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Plain) -> list[Plain]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def _host(path: Path, service: Values) -> Iterator[Finding]:
    host = service.get("host", LOCAL_HOST)
    if isinstance(host, str) and host != LOCAL_HOST:
        yield Finding((*path, "host"), f"there is no host {host[:63]!r}", f"write {LOCAL_HOST}, or leave host out")


def _remedies(path: Path, service: Values) -> Iterator[Finding]:
    remedies = mapping(service.get("remedies"))
    for key in ("only", "never"):
        for index, name in enumerate(items(remedies.get(key))):
            if isinstance(name, str) and name not in REMEDY_NAMES and name not in (known := _known_remedies()):
                close = nearest(name, known)
                meant = f"did you mean {close}? known: " if close else "known: "
                where = (*path, "remedies", key, index)
                yield Finding(where, f"there is no remedy {name[:63]!r}", meant + one_of(known))
    both = [name for name in items(remedies.get("only")) if name in items(remedies.get("never"))]
    if both:
        yield Finding((*path, "remedies", "never"), f"{both[0]!r} is in only as well", "keep it in one of the two")


def _known_remedies() -> tuple[str, ...]:
    """Ours, and those of packages that are installed here."""
    return (*REMEDY_NAMES, *(plugin.name for plugin in installed(PluginKind.REMEDY)))


def _folders(path: Path, service: Values) -> Iterator[Finding]:
    for index, folder in enumerate(items(service.get("folders"))):
        here = (*path, "folders", index)
        declared = mapping(folder)
        limit, target = _size(declared.get("limit")), _size(declared.get("target"))
        if items(declared.get("clean")) and declared.get("limit") is None:
            yield Finding(
                (*here, "limit"), "is missing, so the folder is never cleaned", "add limit: 200MB, or remove clean"
            )
        if limit is not None and target is not None and target > limit:
            yield Finding(
                (*here, "target"), "is more than limit, so cleaning would stop at once", "write less than limit"
            )
        for number, glob in enumerate(items(declared.get("clean"))):
            if isinstance(glob, str) and _leaves_folder(glob):
                where = (*here, "clean", number)
                yield Finding(
                    where, f"{glob[:80]!r} leads out of the folder", "write a glob inside it, such as *.tmp or **/*.log"
                )


def _leaves_folder(glob: str) -> bool:
    return glob.startswith(("/", "~")) or ".." in PurePosixPath(glob).parts


def _paths(path: Path, service: Values) -> Iterator[Finding]:
    declared: list[tuple[Path, Plain]] = [((*path, "run", "directory"), mapping(service.get("run")).get("directory"))]
    for key in ("files", "folders"):
        for index, entry in enumerate(items(service.get(key))):
            declared.append(((*path, key, index, "path"), mapping(entry).get("path")))
    for where, value in declared:
        if isinstance(value, str) and value.startswith("~"):
            yield Finding(
                where,
                f"{value[:80]!r} is not a path; no shell reads ~",
                "write the whole path, or one from this file's folder",
            )
        elif isinstance(value, str) and ("\0" in value or not value):
            yield Finding(where, "is not a path", "write a path, absolute or from this file's folder")


def _checks(path: Path, service: Values) -> Iterator[Finding]:
    checks = mapping(service.get("checks"))
    processes = [name for name, check in checks.items() if mapping(check).get("kind") == "process"]
    for name in processes[1:]:
        where = (*path, "checks", name)
        yield Finding(where, f"is a second process check beside {processes[0]!r}", "keep one of them", at_key=True)
    for name, value in checks.items():
        here = (*path, "checks", name)
        check = mapping(value)
        kind = check.get("kind")
        if name == PROCESS_CHECK and kind != "process" and isinstance(kind, str):
            yield Finding(
                here, f"{PROCESS_CHECK!r} is the name of the process check", "give this check another name", at_key=True
            )
        yield from find_check_contradictions(here, check)
        if kind == "http":
            yield from _http_check(here, check)


def _http_check(here: Path, check: Values) -> Iterator[Finding]:
    url = check.get("url")
    if isinstance(url, str) and url.startswith(("http://", "https://")) and not _is_url(url):
        yield Finding(
            (*here, "url"), "is no address that can be asked", "write one such as http://127.0.0.1:8080/health"
        )
    latency = _milliseconds(check.get("max_latency"))
    timeout = _milliseconds(check.get("timeout", _DEFAULT_TIMEOUT))
    if latency is not None and timeout is not None and latency > timeout:
        yield Finding(
            (*here, "max_latency"),
            f"is longer than timeout ({check.get('timeout', _DEFAULT_TIMEOUT)}), so it can never be reached",
            "raise timeout above it",
        )


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _variables(path: Path, service: Values) -> Iterator[Finding]:
    environment = mapping(mapping(service.get("run")).get("environment"))
    for name, value in environment.items():
        here = (*path, "run", "environment", name)
        if not name or "=" in name or "\0" in name:
            yield Finding(here, "is no name of a variable", "use letters, digits and _", at_key=True)
        if not isinstance(value, str):
            continue
        if "\0" in value:
            yield Finding(here, "holds a zero byte, which no variable can", "remove it")
        for reference in references(value):
            if not is_variable_name(reference):
                message = f"{reference[:40]!r} in ${{…}} names no variable" if reference else "holds an unfinished ${"
                yield Finding(here, message, "write ${NAME}, or $${ for the two signs themselves")


def _unknown_dependencies(name: str, service: Values, services: Values) -> Iterator[Finding]:
    for index, dependency in enumerate(items(service.get("depends_on"))):
        here = ("services", name, "depends_on", index)
        if not isinstance(dependency, str):
            continue
        if dependency == name:
            yield Finding(here, "the service depends on itself", "remove it")
        elif dependency not in services:
            close = nearest(dependency, services)
            remedy = f"did you mean {printed(close)}?" if close else "declare it under services, or remove it"
            yield Finding(here, f"there is no service {dependency[:63]!r}", remedy)


def _cycles(services: Values) -> Iterator[Finding]:
    """One finding for each cycle of dependencies, at the place where its first service names the next."""
    graph = {
        name: [other for other in items(mapping(service).get("depends_on")) if isinstance(other, str) and other != name]
        for name, service in services.items()
    }
    for _ in range(_MOST_CYCLES):
        cycle = _cycle(graph)
        if cycle is None:
            return
        members = set(cycle)
        first = cycle.index(next(name for name in services if name in members))
        cycle = cycle[first:] + cycle[:first]
        following = cycle[1] if len(cycle) > 1 else cycle[0]
        index = items(mapping(services[cycle[0]]).get("depends_on")).index(following)
        chain = " → ".join([*map(printed, cycle[:10]), *(["…"] if len(cycle) > 10 else []), printed(cycle[0])])
        yield Finding(
            ("services", cycle[0], "depends_on", index),
            f"the services depend on each other in a circle: {chain}",
            "remove one of these dependencies",
        )
        for member in cycle:
            graph[member] = []


def _cycle(graph: Mapping[str, list[str]]) -> list[str] | None:
    """Services that depend on each other, each on the next and the last on the first; None if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        # graphlib names each node after the one that depends on it is named last: its order is the reverse of ours.
        circle: list[str] = error.args[1]
        return circle[:0:-1]
    return None


def _shared_ports(services: Values) -> Iterator[Finding]:
    holders: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name, service in services.items():
        declared = mapping(service)
        host = declared.get("host", LOCAL_HOST)
        for index, port in enumerate(items(declared.get("ports"))):
            if not isinstance(port, int) or not isinstance(host, str):
                continue
            here = ("services", name, "ports", index)
            others = holders[host, port]
            if name in others:
                yield Finding(here, f"{port} is given twice", "keep one of the two")
            elif others:
                yield Finding(
                    here, f"{port} is the port of {printed(others[0])} as well", "give each service a port of its own"
                )
            others.append(name)


def _size(value: Plain) -> int | None:
    return _read(parse_size, value)


def _milliseconds(value: Plain) -> float | None:
    duration = _read(parse_duration, value)
    return None if duration is None else duration.total_seconds() * 1000


def _read(parse: Callable[[object], Quantity], value: Plain) -> Quantity | None:
    try:
        return parse(value)
    except ValueError:
        return None


_RULES: tuple[Callable[[Path, Values], Iterator[Finding]], ...] = (
    _host,
    _remedies,
    _folders,
    _paths,
    _checks,
    _variables,
    find_kind_contradictions,
)
