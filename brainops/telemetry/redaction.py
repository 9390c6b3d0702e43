"""Secrets out of text, and text that can be shown.

Logs and bodies of services are evidence and are hostile: everything here takes time linear in its input. Patterns
are anchored to literal words and bounded in what they read after them, and the two kinds of blocks that may be long
(private keys, `<private>` passages) are found by plain search.

Redaction errs on the side of hiding: a block that never ends is hidden to the end of the text.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import cast

from brainops.config.environment import looks_secret

REDACTED = "[redacted]"

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]

MAX_TEXT = 2_000_000
"""Characters that are looked at; what follows is cut off."""

_MAX_DEPTH = 12
_MAX_ITEMS = 1000
_MAX_STRING = 20_000

PRIVATE_PASSAGE = re.compile(r"(?P<opening><private>)|</private>", re.IGNORECASE)
PRIVATE_KEY = re.compile(
    r"(?P<opening>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)"
    r"|-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
)
LONGEST_KEY = 8192
"""Before the end of a key whose beginning was cut off, so much is hidden."""

_SENSITIVE = (
    r"passwords?|passwd|passphrase|pwd|secrets?|token(?![a-z])|credentials?|authorization|"
    r"(?:api|access|private|signing|encryption|auth|ssh|master|account|session)[_-]?keys?(?![a-z])"
)
_UPPER_KEY = r"(?<=[A-Z0-9]_)(?-i:KEYS?)(?![A-Za-z])"

_ASSIGNED = re.compile(
    rf"(?P<name>(?:{_SENSITIVE}|{_UPPER_KEY})(?:[_-][A-Za-z0-9_-]{{0,40}})?)"
    r"(?P<sign>[\\\"'\]]{0,8}[ \t]{0,8}(?:=>|:=|==?|:)[ \t]{0,8})"
    r"(?P<scheme>(?:bearer|basic|token|digest)[ \t]{1,8})?"
    r"(?P<value>"
    r"\"(?:\\.|[^\"\\\n])*|'(?:\\.|[^'\\\n])*"
    r"|\\{1,8}[\"'][^\"'\n\\]*"
    r"|[^\s\"'\\][^\s\"']*)",
    re.IGNORECASE,
)
"""`DB_PASSWORD=x`, `password: "x y"`, `{\"token\": \"x\"}`. A value's closing quote is not part of the match."""

_OPTION = re.compile(
    rf"(?P<name>--(?:[a-z0-9]{{1,20}}-){{0,4}}(?:{_SENSITIVE})[ \t]{{1,8}})(?P<value>\"[^\"\n]*|'[^'\n]*|[^\s\"'-][^\s]*)",
    re.IGNORECASE,
)

_HEADER = re.compile(
    r"(?P<name>(?:proxy-)?authorization|set-cookie|cookie|x-[a-z]{1,20}-(?:key|token|signature))"
    r"(?P<sign>[\\\"']{0,4}[ \t]{0,8}:[ \t]{0,8}[\\\"']{0,4})(?P<value>[^\s\"'\\][^\n\"'\\]*)",
    re.IGNORECASE,
)

_BEARER = re.compile(r"\b(?P<name>bearer[ \t]{1,8})(?P<value>[A-Za-z0-9._~+/=-]{6,})", re.IGNORECASE)

URL_PASSWORD = re.compile(r"(?P<name>://[^\s/@:\"']{0,256}:)(?P<value>[^\s/\"']{1,512})(?=@)")

KNOWN_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA)[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|sk-[A-Za-z0-9_-]{16,}|[srp]k_(?:live|test)_[A-Za-z0-9]{10,}|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|AIza[0-9A-Za-z_-]{35}|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{20,}|pypi-[A-Za-z0-9_-]{20,}"
    r"|bok_[A-Za-z0-9]{1,64}_[A-Za-z0-9_-]{8,}"
    r"|eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*)?"
    r")"
)

_AFTER_WORD = re.compile(
    rf"\b(?P<name>(?:{_SENSITIVE}|key)[ \t]{{1,4}}(?:is[ \t]{{1,4}})?[\"']?)(?P<value>[A-Za-z0-9+_-][A-Za-z0-9+/=_-]{{19,}})",
    re.IGNORECASE,
)
_HAS_DIGIT = re.compile(r"[0-9]")

_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]?"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]{0,2048}(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c\n]{0,2048}(?:\x1b\\|\x9c)?"
    r"|\x1b[ -/]{0,8}[0-~]?"
)

_DROPPED: tuple[int, ...] = (0x00, 0x200B, 0x2060, 0xFEFF)
"""Marks that nobody sees: they would split a secret in two, and UTF-16 text becomes legible without them."""
_STEERING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x2028, 0x2029, 0x061C)
_WITHOUT_MARKS: dict[int, None] = dict.fromkeys(_DROPPED)
_TRANSLATION = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)},
    **{code: f"\\u{code:04x}" for code in (*range(0xD800, 0xE000), *_STEERING)},
}

_PLAIN_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def redact(text: str, secrets: Collection[str] = ()) -> str:
    """`text` with every secret replaced by `[redacted]`; the names beside them stay.

    `secrets`: values that are known to be secret, such as `secret_values(environment)` of a service; they are hidden
    wherever they stand. What follows the first `MAX_TEXT` characters is cut off. Redacting twice changes nothing more.
    """
    text = text[:MAX_TEXT]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = _without_blocks(text, PRIVATE_PASSAGE, hidden_before_stray_end=0)
    text = _without_blocks(text, PRIVATE_KEY, hidden_before_stray_end=LONGEST_KEY)
    text = _HEADER.sub(rf"\g<name>\g<sign>{REDACTED}", text)
    text = URL_PASSWORD.sub(rf"\g<name>{REDACTED}", text)
    text = _ASSIGNED.sub(_hide_assigned, text)
    text = _OPTION.sub(_hide_option, text)
    text = _BEARER.sub(rf"\g<name>{REDACTED}", text)
    text = KNOWN_TOKEN.sub(REDACTED, text)
    return _AFTER_WORD.sub(_hide_if_random, text)


def printable(text: str | bytes, limit: int = MAX_TEXT) -> str:
    """`text` without anything that could steer a terminal, at most `limit` characters.

    Escape sequences and invisible marks go; other control characters, bytes that are not UTF-8 and lone surrogates
    are written as `\\x07`; line ends and tabs stay. A cut is marked by `…`.
    """
    return _cut(_visible(text), limit)


def clean(text: str | bytes, limit: int = 500, secrets: Collection[str] = ()) -> str:
    """`text` fit to be shown and kept: printable, without secrets, at most `limit` characters.

    In this order: an escape sequence inside a secret would hide it from redaction, and so would a cut.
    """
    return _cut(redact(_visible(text), secrets), limit)


def redact_value(value: object, secrets: Collection[str] = ()) -> JSON:
    """JSON of `value` without secrets: texts are cleaned, and what stands under a name of a secret is hidden.

    A reference such as `${DB_PASSWORD}` is no secret. Bounded: 12 levels, 1000 entries each, 20,000 characters a
    text. What is not JSON is written as text.
    """
    return _redacted_value(value, secrets, 0)


def _redacted_value(value: object, secrets: Collection[str], depth: int) -> JSON:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | bytes):
        return clean(value, _MAX_STRING, secrets)
    if depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return _redacted_mapping(cast("Mapping[object, object]", value), secrets, depth)
    if isinstance(value, Sequence | set | frozenset):
        items = list(cast("Collection[object]", value))
        result = [_redacted_value(item, secrets, depth + 1) for item in items[:_MAX_ITEMS]]
        if len(items) > _MAX_ITEMS:
            result.append("…")
        return result
    return clean(str(value), _MAX_STRING, secrets)


def _redacted_mapping(value: Mapping[object, object], secrets: Collection[str], depth: int) -> JSON:
    result: dict[str, JSON] = {}
    for count, (key, item) in enumerate(value.items()):
        if count == _MAX_ITEMS:
            result["…"] = "…"
            break
        name = clean(str(key), 200, secrets)
        hide = looks_secret(str(key)) and not _harmless(item)
        result[name] = REDACTED if hide else _redacted_value(item, secrets, depth + 1)
    return result


def _harmless(value: object) -> bool:
    """Whether a value under a secret's name gives nothing away."""
    if isinstance(value, str):
        return not value or _PLAIN_REFERENCE.fullmatch(value) is not None
    return value is None or isinstance(value, bool)


def _visible(text: str | bytes) -> str:
    if isinstance(text, bytes):
        text = text[: 4 * MAX_TEXT].decode("utf-8", "backslashreplace")
    text = text[:MAX_TEXT].replace("\r\n", "\n").replace("\r", "\n")
    return _ESCAPE_SEQUENCE.sub("", text.translate(_WITHOUT_MARKS)).translate(_TRANSLATION)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[: limit - 1]}…" if limit > 0 else ""


def _without_blocks(text: str, mark: re.Pattern[str], *, hidden_before_stray_end: int) -> str:
    """`text` without what stands from an opening to its closing mark, the marks included.

    Without a closing mark everything to the end is hidden; before a closing mark without an opening, so many
    characters.
    """
    parts: list[str] = []
    kept_from = 0
    inside = False
    for match in mark.finditer(text):
        if match["opening"]:
            if not inside:
                parts += [text[kept_from : match.start()], REDACTED]
            inside = True
            continue
        if not inside:
            parts += [text[kept_from : max(kept_from, match.start() - hidden_before_stray_end)], REDACTED]
        inside = False
        kept_from = match.end()
    if not inside:
        parts.append(text[kept_from:])
    return "".join(parts)


def _hide_assigned(match: re.Match[str]) -> str:
    quote = _quote(match["value"])
    return f"{match['name']}{match['sign']}{match['scheme'] or ''}{quote}{REDACTED}"


def _hide_option(match: re.Match[str]) -> str:
    return f"{match['name']}{_quote(match['value'])}{REDACTED}"


def _hide_if_random(match: re.Match[str]) -> str:
    return f"{match['name']}{REDACTED}" if _HAS_DIGIT.search(match["value"]) else match[0]


def _quote(value: str) -> str:
    """The opening quote of a value with its backslashes; empty for a bare word."""
    bare = value.lstrip("\\")
    return value[: len(value) - len(bare) + 1] if bare[:1] in ('"', "'") else ""
