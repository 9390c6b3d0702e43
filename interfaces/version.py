"""Which BrainOps this is."""

from importlib.metadata import PackageNotFoundError, version


def brainops_version() -> str:
    """The installed version; `0+source` when the source tree runs without being installed."""
    try:
        return version("brainops")
    except PackageNotFoundError:
        return "0+source"
