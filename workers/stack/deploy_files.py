"""Where the files of `deploy/` are: in a clone, or inside the installed wheel."""

from pathlib import Path

import brainops
from brainops.errors import SetupError


def deploy_folder(name: str) -> Path:
    """The folder `deploy/<name>`. Raises SetupError when this installation does not hold it."""
    package = Path(brainops.__file__).resolve().parent
    candidates = (package.parent / "deploy" / name, package / "_deploy" / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise SetupError(
        f"This installation lacks deploy/{name} (looked at {candidates[0]} and {candidates[1]}). Install BrainOps again."
    )
