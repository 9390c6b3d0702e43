"""The tag around everything that memory hands out, by which it knows its own words again and never keeps them twice."""

OPEN_TAG, CLOSE_TAG = "<brainops-memory>", "</brainops-memory>"

_SHOWN_OPEN, _SHOWN_CLOSE = "[brainops-memory]", "[/brainops-memory]"


def wrapped(text: str) -> str:
    """`text` between the tags; a tag inside it is shown in brackets, so that what was kept cannot end the passage."""
    inner = text.replace(CLOSE_TAG, _SHOWN_CLOSE).replace(OPEN_TAG, _SHOWN_OPEN)
    return f"{OPEN_TAG}\n{inner}\n{CLOSE_TAG}"


def without_own_words(text: str) -> str:
    """`text` without the passages between the tags.

    A passage that was cut off before its end reaches to the end of the text; a tag that is only spoken of, in the
    middle of a line and never closed, stays.
    """
    kept: list[str] = []
    place = 0
    while (opened := text.find(OPEN_TAG, place)) >= 0:
        after = opened + len(OPEN_TAG)
        closed = text.find(CLOSE_TAG, after)
        if closed < 0 and not text.startswith("\n", after):
            break
        kept.append(text[place:opened])
        place = len(text) if closed < 0 else closed + len(CLOSE_TAG)
    kept.append(text[place:])
    return "".join(kept).strip() if len(kept) > 1 else text
