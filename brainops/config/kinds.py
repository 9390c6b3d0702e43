"""What does not go together with the kind of a service or of a check: such as a health check where there is no container."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from brainops.config.document import Path, Plain
from brainops.config.environment import looks_secret
from brainops.config.mistakes import Finding, one_of
from brainops.config.quantities import parse_duration, parse_size

_CONTAINERS = ("docker", "compose")
_UNMANAGED = ("external", "host")
_ENGINE_SCHEMES = ("unix://", "tcp://", "http://", "https://", "ssh://", "npipe://")
_POSTGRES_SCHEMES = ("postgresql://", "postgres://")
_CHANGES = frozenset(
    ("insert", "update", "delete", "merge", "truncate", "drop", "alter", "create", "grant", "revoke", "vacuum")
)
_CARRY_NO_BODY = ("GET", "HEAD", "OPTIONS")

Values = Mapping[str, Plain]


def find_kind_contradictions(path: Path, service: Values) -> Iterator[Finding]:
    """Everything in a service that its kind, or the kind of one of its checks, has no use for."""
    run = _mapping(service.get("run"))
    kind = run.get("kind", "process")
    if not isinstance(kind, str):
        return
    yield from _run(path, run, kind)
    yield from _limits((*path, "limits"), _mapping(service.get("limits")), kind)
    if kind in _UNMANAGED and service.get("priority") == "low":
        remedy = "remove it, or say how the service runs"
        yield Finding((*path, "priority"), f"a service of kind {kind} is not reniced or stopped by BrainOps", remedy)
    if kind == "external" and service.get("commands"):
        remedy = "remove them, or say how the service runs"
        yield Finding((*path, "commands"), "BrainOps only looks at a service of kind external", remedy, at_key=True)
    for index, log in enumerate(_items(service.get("logs"))):
        yield from _path((*path, "logs", index, "path"), _mapping(log).get("path"))
    for name, check in _mapping(service.get("checks")).items():
        yield from _check((*path, "checks", name), _mapping(check), run, kind)


def _run(path: Path, run: Values, kind: str) -> Iterator[Finding]:
    here = (*path, "run")
    endpoint = run.get("endpoint")
    if kind in _CONTAINERS and isinstance(endpoint, str) and not endpoint.startswith(_ENGINE_SCHEMES):
        remedy = "write one such as unix:///var/run/docker.sock"
        yield Finding((*here, "endpoint"), f"{endpoint[:60]!r} is no address of a Docker engine", remedy)
    if kind == "compose" and run.get("files") == []:
        yield Finding((*here, "files"), "is empty", "name the Compose file, or leave files out for compose.yaml")
    if kind == "compose":
        for index, file in enumerate(_items(run.get("files"))):
            yield from _path((*here, "files", index), file)
    yield from _path((*here, "log"), run.get("log"))


def _limits(path: Path, limits: Values, kind: str) -> Iterator[Finding]:
    for key in ("memory", "file_descriptors", "threads", "children"):
        if kind in _UNMANAGED and limits.get(key) is not None:
            remedy = "remove it; a check of kind host looks at the machine" if kind == "host" else "remove it"
            yield Finding((*path, key), f"nothing of a service of kind {kind} can be measured", remedy)
    for key in ("disk", "journal"):
        if kind != "host" and limits.get(key) is not None:
            remedy = "move it to a service of kind host: {run: {kind: host}, limits: …}"
            yield Finding((*path, key), "is a limit of the machine, and not of one service", remedy)
    if limits.get("memory_ceiling") is None:
        return
    if kind not in (*_CONTAINERS, "systemd"):
        remedy = "remove it; the kernel limits the memory of containers and units only"
        yield Finding((*path, "memory_ceiling"), f"the limit of a service of kind {kind} cannot be raised", remedy)
        return
    memory, ceiling = _size(limits.get("memory")), _size(limits.get("memory_ceiling"))
    if memory is not None and ceiling is not None and ceiling < memory:
        yield Finding(
            (*path, "memory_ceiling"), "is less than memory, so nothing could be raised", "write more than memory"
        )


def _check(here: Path, check: Values, run: Values, kind: str) -> Iterator[Finding]:
    of_check = check.get("kind")
    yield from _place(here, check, run, kind)
    rules = _RULES.get(of_check) if isinstance(of_check, str) else None
    if rules is not None:
        yield from rules(here, check)
    for key in ("path", "ca", "client_certificate", "client_key"):
        yield from _path((*here, key), check.get(key))


def _place(here: Path, check: Values, run: Values, kind: str) -> Iterator[Finding]:
    """Checks that need something that this kind of service has not."""
    of_check = check.get("kind")
    if of_check == "health" and kind not in _CONTAINERS:
        remedy = f"use kind http, tcp or command; health belongs to services of kind {one_of(_CONTAINERS)}"
        yield Finding((*here, "kind"), f"a service of kind {kind} has no container with a health check", remedy)
    if of_check == "process" and kind in _UNMANAGED:
        yield Finding(
            (*here, "kind"), f"a service of kind {kind} has no process that can be seen", "use kind http or tcp"
        )
    if of_check == "process" and kind == "command" and not (run.get("status") or run.get("pid_file")):
        remedy = "add run.pid_file, or run.status: [your, command], whose exit code 0 says that it runs"
        yield Finding((*here, "kind"), "nothing tells whether the service runs", remedy)
    if of_check == "log" and check.get("path") is None:
        silent = kind in _UNMANAGED or (kind == "command" and not run.get("log"))
        if silent:
            yield Finding(
                (*here, "path"), f"is missing: the output of a service of kind {kind} is not ours", "add path"
            )


def _http(here: Path, check: Values) -> Iterator[Finding]:
    url = check.get("url")
    if check.get("body") is not None and check.get("method", "GET") in _CARRY_NO_BODY:
        yield Finding(
            (*here, "body"), f"is not sent with {check.get('method', 'GET')}", "add method: POST, or remove it"
        )
    if isinstance(url, str) and url.startswith(("http://", "https://")) and _password(url):
        remedy = 'send it as headers: {Authorization: "${NAME}"}, with ${NAME} set where BrainOps is started'
        yield Finding((*here, "url"), "the address holds a password, and the file is read by many", remedy)
    for name, value in _mapping(check.get("headers")).items():
        secret = looks_secret(name.replace("-", "_")) or name.lower() in ("authorization", "cookie")
        if secret and isinstance(value, str) and "${" not in value:
            where = (*here, "headers", name)
            yield Finding(
                where, "holds a secret, and the file is read by many", "write ${NAME}, set where BrainOps is started"
            )


def _postgres(here: Path, check: Values) -> Iterator[Finding]:
    url = check.get("url")
    if isinstance(url, str) and url and "${" not in url and not url.startswith(_POSTGRES_SCHEMES):
        remedy = "write ${NAME}, or postgresql://user:${PASSWORD}@127.0.0.1/database"
        yield Finding((*here, "url"), "is no address of a PostgreSQL server", remedy)
    elif isinstance(url, str) and _password(url):
        remedy = "write ${NAME} in its place, and set it where BrainOps is started: export NAME=…"
        yield Finding((*here, "url"), "holds a password, and the file is read by many", remedy)
    query = check.get("query")
    words = query.split(None, 1) if isinstance(query, str) else []
    if words and words[0].lower() in _CHANGES:
        remedy = "write a SELECT; what changes data belongs under commands"
        yield Finding(
            (*here, "query"), f"{words[0].upper()} cannot run in the read-only transaction of a check", remedy
        )


def _heartbeat(here: Path, check: Values) -> Iterator[Finding]:
    period, interval = _duration(check.get("period")), _duration(check.get("interval", "1s"))
    if period is not None and interval is not None and period < interval:
        remedy = "write a shorter interval: it is how often BrainOps looks whether the job has reported"
        yield Finding((*here, "period"), "is shorter than interval, so reports that stay away are overlooked", remedy)


def _log(here: Path, check: Values) -> Iterator[Finding]:
    judged = check.get("max_matches") is not None or check.get("new_kinds") or check.get("conditions")
    if not judged:
        remedy = "add max_matches: 0, or new_kinds: true"
        yield Finding(here, "says nothing of when it fails, so it never does", remedy, at_key=True)


def _tcp(here: Path, check: Values) -> Iterator[Finding]:
    host = check.get("host")
    if isinstance(host, str) and ("/" in host or " " in host or not host):
        yield Finding(
            (*here, "host"), f"{host[:60]!r} is no name or address of a machine", "write one such as 127.0.0.1"
        )


_RULES: Mapping[str, Callable[[Path, Values], Iterator[Finding]]] = {
    "http": _http,
    "postgres": _postgres,
    "heartbeat": _heartbeat,
    "log": _log,
    "tcp": _tcp,
}


def _path(where: Path, value: Plain) -> Iterator[Finding]:
    if isinstance(value, str) and value.startswith("~"):
        remedy = "write the whole path, or one from this file's folder"
        yield Finding(where, f"{value[:80]!r} is not a path; no shell reads ~", remedy)


def _password(url: str) -> bool:
    """Whether an address holds a password that is no variable."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return False
    return bool(password) and "${" not in (password or "")


def _duration(value: Plain) -> timedelta | None:
    try:
        return parse_duration(value)
    except ValueError:
        return None


def _size(value: Plain) -> int | None:
    try:
        return parse_size(value)
    except ValueError:
        return None


def _mapping(value: Plain) -> Values:
    return value if isinstance(value, dict) else {}


def _items(value: Plain) -> list[Plain]:
    return value if isinstance(value, list) else []
