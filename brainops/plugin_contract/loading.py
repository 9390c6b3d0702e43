"""What all three parts of the contract test need."""

from brainops.config.plugins import Plugin, PluginKind, find
from brainops.errors import SetupError


def plugin_named(kind: PluginKind, name: str) -> Plugin:
    """The installed plugin. Raises AssertionError where there is none."""
    try:
        return find(kind, name)
    except SetupError as error:
        raise AssertionError(
            f"{error}; is it among the entry points {kind.value!r} of your pyproject.toml, and is the package installed?"
        ) from error


def require(holds: object, otherwise: str) -> None:
    """Raise AssertionError with a sentence that says what to change, also where `assert` is compiled away."""
    if not holds:
        raise AssertionError(otherwise)
