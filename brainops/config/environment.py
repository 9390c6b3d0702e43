"""`${NAME}` in a service's environment, and which names hold secrets."""

import re
from collections.abc import Iterator, Mapping

from brainops.config.models import Service
from brainops.config.runs import CommandRun, ProcessRun
from brainops.errors import ConfigError

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^{}]*)(\}?)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")

_SECRET_WORDS = frozenset(
    (
        "password",
        "passwords",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "secrets",
        "token",
        "apikey",
        "credential",
        "credentials",
        "authorization",
        "cookie",
        "jwt",
        "bearer",
    )
)
_KEY_QUALIFIERS = frozenset(
    ("api", "access", "private", "signing", "encryption", "auth", "ssh", "master", "service", "account", "session")
)
_HARMLESS_ENDINGS = frozenset(("count", "limit", "type", "id", "name", "file", "path", "expires", "usage"))


def looks_secret(name: str) -> bool:
    """Whether a variable or key of this name holds a secret: `DB_PASSWORD`, `apiKey`, `SIGNING_KEY`, not `sort_key`.

    An upper-case name that ends in KEY is one (`STRIPE_KEY`); a lower-case one needs a qualifier (`api_key`), because
    programs name keys that open nothing.
    """
    words = [word.lower() for word in _WORD.findall(name[:200])]
    if not words or words[-1] in _HARMLESS_ENDINGS:
        return False
    if _SECRET_WORDS.intersection(words):
        return True
    if words[-1] not in ("key", "keys"):
        return False
    return name.isupper() or (len(words) > 1 and words[-2] in _KEY_QUALIFIERS)


def secret_values(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values that must not be shown, longest first. Those shorter than six characters would redact plain words."""
    values = {value for name, value in environment.items() if looks_secret(name) and len(value) >= 6}
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


def references(text: str) -> Iterator[str]:
    """What stands between `${` and `}` in `text`, in order; an unclosed reference yields the empty name."""
    for match in _REFERENCE.finditer(text):
        if not match[1]:
            yield match[2] if match[3] else ""


def is_variable_name(name: str) -> bool:
    """Whether `name` can name an environment variable."""
    return _VARIABLE.fullmatch(name) is not None


def declared_environment(service: Service) -> dict[str, str]:
    """The variables that the file gives to the service, as written."""
    return service.run.environment if isinstance(service.run, ProcessRun | CommandRun) else {}


def expand_environment(service: Service, environment: Mapping[str, str]) -> dict[str, str]:
    """The service's variables with each `${NAME}` replaced from `environment`; see `expand`.

    Raises ConfigError naming every variable that is missing; no value is in the message.
    """
    missing: list[str] = []
    declared = declared_environment(service).items()
    expanded = {name: _expanded(text, environment, missing) for name, text in declared}
    _refuse(missing)
    return expanded


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`text` with each `${NAME}` replaced from `environment`; `$${` stays as `${`.

    What a variable holds is not expanded again. Raises ConfigError as `expand_environment`.
    """
    missing: list[str] = []
    expanded = _expanded(text, environment, missing)
    _refuse(missing)
    return expanded


def _expanded(text: str, environment: Mapping[str, str], missing: list[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        name = match[2] if match[3] else ""
        if name not in environment:
            missing.append(name)
            return ""
        return environment[name]

    return _REFERENCE.sub(replace, text)


def _refuse(missing: list[str]) -> None:
    if missing:
        names = ", ".join(sorted(set(missing)))
        raise ConfigError(f"the environment variable {names} is not set; set it where BrainOps is started")
