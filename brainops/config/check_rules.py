"""What no single value of a check shows: conditions over values that its kind has not, settings that exclude each other.

As in `relations`, these look at the plain values and not at the models.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath

from brainops.config.certificates import CertificateError, TlsFiles
from brainops.config.conditions import known_values, parse_condition, type_mistake
from brainops.config.document import Path, Plain
from brainops.config.environment import is_variable_name, references
from brainops.config.mistakes import Finding, nearest, one_of

_TLS_SETTINGS = ("certificate_valid_for", "ca", "client_certificate", "client_key")

Check = Mapping[str, Plain]


def find_check_contradictions(path: Path, check: Check) -> Iterator[Finding]:
    """Every mistake of a check that is one only beside something else in it."""
    kind = check.get("kind")
    yield from _conditions(path, check)
    yield from _references(path, check)
    if kind == "http":
        yield from _http(path, check)


def find_check_missing(
    path: Path, check: Check, directory: FilePath, environment: Mapping[str, str]
) -> Iterator[Finding]:
    """What a check names and this machine has not: variables, and certificates that can be used."""
    for where, text in _texts(path, check):
        for reference in references(text):
            if is_variable_name(reference) and reference not in environment:
                remedy = f"set it where BrainOps is started: export {reference}=…"
                yield Finding(where, f"the variable {reference[:80]} is not set", remedy)
    if check.get("kind") != "http" or not _is_https(check):
        return
    named = {setting: check.get(setting) for setting in ("ca", "client_certificate", "client_key")}
    paths = {
        setting: directory / value
        for setting, value in named.items()
        if isinstance(value, str) and value and "\0" not in value
    }
    if not paths or ("client_key" in paths and "client_certificate" not in paths):
        return
    files = TlsFiles(True, paths.get("ca"), paths.get("client_certificate"), paths.get("client_key"))
    try:
        files.context()
    except CertificateError as error:
        yield Finding((*path, error.field), error.message, error.remedy)


def _conditions(path: Path, check: Check) -> Iterator[Finding]:
    kind = check.get("kind")
    conditions = check.get("conditions")
    for index, text in enumerate(conditions if isinstance(conditions, list) else ()):
        if not isinstance(kind, str) or not isinstance(text, str):
            continue
        try:
            condition = parse_condition(text)
        except ValueError:
            continue
        here = (*path, "conditions", index)
        known = known_values(kind)
        if known and condition.name not in known:
            close = nearest(condition.name.lower(), [name.lower() for name in known])
            meant = f"did you mean [{close.upper()}]? known: " if close else "known: "
            message = f"a check of kind {kind} has no [{condition.name}]"
            yield Finding(here, message, meant + one_of([f"[{name}]" for name in known]))
        elif mistake := type_mistake(condition, kind):
            yield Finding(here, *mistake)
        elif condition.name == "CERTIFICATE_EXPIRATION" and not _is_https(check):
            yield Finding(here, "only https has a certificate", "write url: https://…, or remove the condition")


def _http(path: Path, check: Check) -> Iterator[Finding]:
    if "client_key" in check and "client_certificate" not in check:
        yield Finding((*path, "client_key"), "is a key without its certificate", "add client_certificate")
    if isinstance(check.get("url"), str) and not _is_https(check):
        for setting in _TLS_SETTINGS:
            if check.get(setting) is not None:
                yield Finding((*path, setting), "means something over https only", "write url: https://…, or remove it")
    if check.get("verify") is False and check.get("ca") is not None:
        yield Finding((*path, "ca"), "is not looked at with verify: false", "remove one of the two")
    if check.get("method") == "HEAD" and check.get("expect_body") is not None:
        yield Finding((*path, "expect_body"), "an answer to HEAD has no body", "write method: GET, or remove it")
    headers = check.get("headers")
    for name, value in (headers if isinstance(headers, dict) else {}).items():
        if not name or not _is_token(name):
            yield Finding((*path, "headers", name), "is no name of a header", "use letters, digits and -", at_key=True)
        elif isinstance(value, str) and any(sign in value for sign in "\r\n\0"):
            yield Finding((*path, "headers", name), "has a line end in it", "write it on one line")


def _references(path: Path, check: Check) -> Iterator[Finding]:
    for where, text in _texts(path, check):
        for reference in references(text):
            if not is_variable_name(reference):
                message = f"{reference[:40]!r} in ${{…}} names no variable" if reference else "holds an unfinished ${"
                yield Finding(where, message, "write ${NAME}, or $${ for the two signs themselves")


def _texts(path: Path, check: Check) -> Iterator[tuple[Path, str]]:
    """The texts of a check in which `${NAME}` is replaced."""
    kind = check.get("kind")
    if kind == "http" and isinstance(body := check.get("body"), str):
        yield (*path, "body"), body
    if kind == "postgres" and isinstance(url := check.get("url"), str):
        yield (*path, "url"), url
    setting = {"http": "headers", "command": "environment"}.get(str(kind), "")
    named = check.get(setting)
    for name, value in (named if isinstance(named, dict) else {}).items():
        if isinstance(value, str):
            yield (*path, setting, name), value


def _is_https(check: Check) -> bool:
    url = check.get("url")
    return isinstance(url, str) and url.startswith("https://")


def _is_token(name: str) -> bool:
    return name.isascii() and all(sign.isalnum() or sign in "!#$%&'*+-.^_`|~" for sign in name)
