"""The one hierarchy of errors.

Each class states in `retryable` whether trying the same thing again can help. Activities translate it to
Temporal's non-retryable flag, the command line to an exit code, the HTTP API to a status. A message names the
thing, the value and the remedy, because a person reads it.
"""

from typing import ClassVar


class BrainOpsError(Exception):
    """Any error of ours."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""


class BadInputError(BrainOpsError):
    """What a person or a program gave is wrong; the message says which value and what to give instead."""


class ConfigError(BadInputError):
    """The configuration file cannot be used."""


class NotFoundError(BadInputError):
    """No such incident, approval, service, agent or key."""


class ConflictError(BadInputError):
    """The thing is no longer in the state that the call needs: decided already, expired, closed."""


class NotAllowedError(BrainOpsError):
    """Charter, autonomy, scope or configuration forbids the action."""


class UnavailableError(BrainOpsError):
    """Postgres, Temporal, the disk or a service does not answer now."""

    retryable = True


class SetupError(BrainOpsError):
    """Something that BrainOps needs is missing on this machine; the message names the ways to get it."""


class ActionError(BrainOpsError):
    """An action was carried out and failed; the message holds what the service said."""


class AmbiguousEffectError(BrainOpsError):
    """An effect was begun and no read can tell whether it happened; a person must look."""
