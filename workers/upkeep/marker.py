"""The file by which a state folder is known to be ours: nothing is removed where it is missing."""

from pathlib import Path

from brainops.config.paths import StatePaths

MARKER = "STATE_FOLDER"

_TEXT = """Everything that BrainOps keeps on this machine stands in this folder.
`brainops backup FILE` saves it, `brainops uninstall --purge` removes it. Put nothing of your own here.
"""


def mark(paths: StatePaths) -> None:
    """Mark a folder that holds nothing else. Does nothing where it is marked, or holds files that are not ours.

    Processes that `init --adopt` took over are on record before the first `up`: their records are ours.
    """
    marker = paths.root / MARKER
    if not marker.exists() and all(_is_adopted(path, paths) for path in paths.root.iterdir()):
        marker.write_text(_TEXT, encoding="utf-8")


def _is_adopted(path: Path, paths: StatePaths) -> bool:
    return path == paths.services and all((folder / "effects").is_dir() for folder in path.iterdir())


def is_marked(paths: StatePaths) -> bool:
    """Whether the folder was empty when BrainOps began to use it."""
    return (paths.root / MARKER).is_file()
