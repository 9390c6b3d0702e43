"""What a session is called, where nobody has named it."""

from brainops.memory.own_words import without_own_words
from brainops.memory.redaction import redact

LONGEST_TITLE = 120

_LOOKED_AT = 4_000
"""Characters of a prompt that a title may come from."""


def title_of(prompt: str) -> str:
    """The first line of what was asked first, without secrets; they are taken out before anything is cut."""
    told = without_own_words(redact(prompt[:_LOOKED_AT]).text)
    return next((line.strip() for line in told.splitlines() if line.strip()), "")[:LONGEST_TITLE].rstrip()
