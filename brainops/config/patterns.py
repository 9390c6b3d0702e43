"""Regular expressions that people write: RE2, which reads every text in time linear in its length.

A pattern that backtracks for ever cannot be written: what RE2 does not know (look-around, back-references) is refused.
"""

from functools import lru_cache
from typing import Annotated, Any, Protocol

import re2  # pyright: ignore[reportMissingTypeStubs]  # it ships none
from pydantic import AfterValidator, StringConstraints

_LONGEST = 1000
_MEMORY_BYTES = 1 << 20

_re2: Any = re2
"""Any: the package has no types; what is used of it is in `Expression`."""


class Expression(Protocol):
    """A compiled pattern."""

    def search(self, text: str, /) -> Any:
        """The first match in `text`, or None. Any: a match as `re` knows it."""
        ...


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Expression:
    """The pattern, to be searched with. Raises ValueError with the remedy."""
    options = _re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    try:
        return _re2.compile(pattern, options=options)
    except _re2.error as error:
        raise ValueError(
            f"{pattern[:80]!r} is no regular expression of RE2 ({_words(error)}); "
            "write one without look-around and back-references"
        ) from None


def _words(error: Exception) -> str:
    text = error.args[0] if error.args else error
    return (text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))[:100]


def _valid(pattern: str) -> str:
    compiled(pattern)
    return pattern


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=_LONGEST), AfterValidator(_valid)]
"""A regular expression in the syntax of RE2."""
