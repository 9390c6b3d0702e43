"""Which `brainops.yaml` a command is about."""

import os
from pathlib import Path

from brainops.config.paths import StatePaths
from brainops.errors import BadInputError
from workers.stack.state import StackInfo

FILE_NAME = "brainops.yaml"


def config_file(named: Path | None) -> Path:
    """The file that is named, else that of `$BRAINOPS_CONFIG`, of the running stack, or of this folder.

    Raises BadInputError when there is none.
    """
    if (found := find_config_file(named)) is not None:
        return found
    raise BadInputError(
        f"there is no {FILE_NAME} here; write a first one with `brainops init`, or name one with --config"
    )


def find_config_file(named: Path | None) -> Path | None:
    """As `config_file`; None when there is none."""
    if named is not None:
        return named
    if given := os.environ.get("BRAINOPS_CONFIG"):
        return Path(given)
    info = running_stack()
    if info is not None and info.config_path is not None:
        return info.config_path
    here = Path(FILE_NAME)
    return here if here.exists() else None


def running_stack() -> StackInfo | None:
    """The stack of the state folder; None when none runs, or it is another user's."""
    try:
        return StackInfo.read(StatePaths.default())
    except OSError:
        return None
