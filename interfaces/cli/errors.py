"""Exit codes, and the one place where an error of ours becomes a sentence on stderr and one of them."""

import sys
from enum import IntEnum
from typing import NoReturn

import typer

from brainops.errors import BadInputError, BrainOpsError, UnavailableError


class ExitCode(IntEnum):
    """What a program may rely on."""

    OK = 0
    FAILURE = 1
    """It was tried and failed, or something is missing on this machine."""
    BAD_INPUT = 2
    """Wrong usage, an unknown name, a wrong configuration, an approval given twice or too late."""
    UNREACHABLE = 3
    """No stack runs, or its database or Temporal server does not answer."""


def exit_code(error: BrainOpsError) -> ExitCode:
    """The code for an error of ours."""
    if isinstance(error, BadInputError):
        return ExitCode.BAD_INPUT
    if isinstance(error, UnavailableError):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILURE


def leave(error: BrainOpsError) -> NoReturn:
    """Say what is wrong on stderr and end the command with its code."""
    code = exit_code(error)
    message = str(error)
    if code is ExitCode.UNREACHABLE and "brainops up" not in message:
        message += " (is the stack running? `brainops up` starts it)"
    print(f"brainops: {message}", file=sys.stderr)
    raise typer.Exit(code)
