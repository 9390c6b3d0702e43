"""Names that a person may mistype."""

from collections.abc import Iterable
from difflib import get_close_matches

from brainops.errors import NotFoundError


def unknown(kind: str, name: str, known: Iterable[str]) -> NotFoundError:
    """The error for a `name` that no `kind` has: the nearest names, else all of them."""
    names = sorted(known)
    nearest = get_close_matches(name, names, n=3, cutoff=0.6)
    if nearest:
        return NotFoundError(f"there is no {kind} {name!r}; did you mean {' or '.join(nearest)}?")
    if not names:
        return NotFoundError(f"there is no {kind} {name!r}, nor any other")
    return NotFoundError(f"there is no {kind} {name!r}; there is {', '.join(names)}")
