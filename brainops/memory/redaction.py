"""Secrets out of what is to be remembered, and the words around them left in place.

A memory keeps text for years and gives it to models, so nothing that opens a door may enter it; but a fact that
stands beside a secret must stay. Each secret becomes a placeholder such as `[redacted: password]`.

The rules are those of `brainops.telemetry.redaction` and of the library detect-secrets, with the judgement of
`brainops.memory.secret_rules`. Of detect-secrets the detectors of one issuer's format are used as they are, as
patterns only: no request is made and its process-wide settings are not touched. Its keyword and its basic-auth
detector are replaced by ours, which know the value from the word beside it; its two entropy detectors and the one
for public addresses would hide checksums, commit ids and hosts. It takes 0.3 s and 20 MB to import, so that happens
when a text has the beginning of such a token, not before.

All is linear in the text: a pattern runs only over lines in which one of its literal words stands.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import cast

from pydantic import JsonValue

from brainops.config.environment import looks_secret
from brainops.errors import BadInputError
from brainops.memory import secret_rules as rules
from brainops.memory.secret_rules import SecretKind
from brainops.telemetry.redaction import KNOWN_TOKEN, LONGEST_KEY, PRIVATE_KEY, PRIVATE_PASSAGE, URL_PASSWORD

MAX_DEPTH = 100
"""Levels of a JSON value."""

_PLACEHOLDER = re.compile(rf"\[redacted(?:: (?:{'|'.join(kind.value for kind in SecretKind)}))?\]")
_MOST_PASSES = 5

_REACH = 4_096
"""Characters after its beginning in which a secret's pattern looks, at most to the end of the line."""


@dataclass(frozen=True)
class Redacted:
    """A text without its secrets."""

    text: str
    count: int = 0
    """How many were hidden by this call."""
    kinds: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many of each `SecretKind`."""


@dataclass(frozen=True)
class RedactedJson:
    """A JSON value without its secrets."""

    value: JsonValue
    count: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    kind: SecretKind


def redact(text: str) -> Redacted:
    """`text` with each secret replaced by `[redacted: KIND]`; what stands around it stays.

    Redacting the result again changes nothing and counts nothing.
    """
    kinds: Counter[str] = Counter()
    text = _without(text, _blocks(text), kinds)
    spans = _secrets(text)
    if spans:
        changed = _without(text, spans, kinds).split("\n")
        text = "\n".join(_settled(line, kinds) if "[redacted" in line else line for line in changed)
    return Redacted(text, kinds.total(), dict(kinds))


def _settled(line: str, kinds: Counter[str]) -> str:
    """The line without what the first pass uncovered: `password is password=x`. No pattern reaches beyond a line."""
    for _ in range(_MOST_PASSES):
        spans = _secrets(line)
        if not spans:
            break
        line = _without(line, spans, kinds)
    return line


def redact_json(value: JsonValue) -> RedactedJson:
    """`value` with `redact` applied to each text and key, and what stands under the name of a secret hidden whole.

    Numbers under such a name are hidden where they can be a PIN or a card. Raises BadInputError beyond `MAX_DEPTH`
    levels.
    """
    kinds: Counter[str] = Counter()
    result = _redacted_value(value, kinds, 0)
    return RedactedJson(result, kinds.total(), dict(kinds))


def _redacted_value(value: JsonValue, kinds: Counter[str], depth: int) -> JsonValue:
    if depth > MAX_DEPTH:
        raise BadInputError(f"the JSON value has more than {MAX_DEPTH} levels; flatten it or store it as an artifact")
    if isinstance(value, str):
        found = redact(value)
        kinds.update(found.kinds)
        return found.text
    if isinstance(value, Mapping):
        return {_redacted_key(key, kinds): _redacted_entry(key, item, kinds, depth) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted_value(item, kinds, depth + 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and rules.card_numbers(str(value)):
        kinds[SecretKind.CARD] += 1
        return _placeholder(SecretKind.CARD)
    return value


def _redacted_key(key: str, kinds: Counter[str]) -> str:
    found = redact(key)
    kinds.update(found.kinds)
    return found.text


def _redacted_entry(key: str, item: JsonValue, kinds: Counter[str], depth: int) -> JsonValue:
    kind = _kind_of_name(key)
    if kind is not None and _opens_something(item, kind):
        kinds[kind] += 1
        return _placeholder(kind)
    return _redacted_value(item, kinds, depth + 1)


def _kind_of_name(name: str) -> SecretKind | None:
    """The kind of secret that a key of this name holds; None when it holds none."""
    found = rules.ASSIGNED.match(f"{name[-100:]}=x") or rules.ASSIGNED.search(f"{name[-100:]}=x")
    if found is None:
        return SecretKind.SECRET if looks_secret(name) else None
    if rules.names_nothing_secret(name[: found.start()], found["tail"], _word(found)):
        return None
    return _kind(found)


def _opens_something(item: JsonValue, kind: SecretKind) -> bool:
    if isinstance(item, bool) or item is None or isinstance(item, list | dict | float):
        return False
    if isinstance(item, int):
        return kind is SecretKind.PASSWORD and item > 999
    if _PLACEHOLDER.search(item):
        return False
    if kind is SecretKind.PASSWORD:
        return rules.is_password(item, rest="", quoted=True, told=False)
    return rules.is_token(item, loose=True, quoted=True)


def _placeholder(kind: SecretKind) -> str:
    return f"[redacted: {kind.value}]"


def _without(text: str, spans: Sequence[_Span], kinds: Counter[str]) -> str:
    if not spans:
        return text
    parts: list[str] = []
    kept_from = 0
    for span in spans:
        parts += [text[kept_from : span.start], _placeholder(span.kind)]
        kinds[span.kind] += 1
        kept_from = span.end
    return "".join([*parts, text[kept_from:]])


# Blocks


def _blocks(text: str) -> list[_Span]:
    """Private passages, and private keys outside them."""
    if "<" not in text and "PRIVATE KEY" not in text:
        return []
    passages = list(_passages(text))
    keys = [span for span in _keys(text) if not any(p.start < span.end and span.start < p.end for p in passages)]
    return sorted([*passages, *keys], key=lambda span: span.start)


def _passages(text: str) -> Iterator[_Span]:
    """From each `<private>` to its end, or to the end of the text; an end of its own is hidden alone."""
    opened: int | None = None
    for match in PRIVATE_PASSAGE.finditer(text):
        if match["opening"]:
            opened = match.start() if opened is None else opened
        else:
            yield _Span(match.start() if opened is None else opened, match.end(), SecretKind.PRIVATE)
            opened = None
    if opened is not None:
        yield _Span(opened, len(text), SecretKind.PRIVATE)


def _keys(text: str) -> Iterator[_Span]:
    """Private keys; of one whose beginning or end was cut off, as far as lines of a key reach."""
    opened: re.Match[str] | None = None
    seen_to = 0
    for match in PRIVATE_KEY.finditer(text):
        if match["opening"]:
            if opened is not None:
                yield _Span(opened.start(), _end_of_key(text, opened.end(), match.start()), SecretKind.PRIVATE_KEY)
            opened = match
        elif opened is not None:
            yield _Span(opened.start(), match.end(), SecretKind.PRIVATE_KEY)
            opened = None
        else:
            yield _Span(_start_of_key(text, seen_to, match.start()), match.end(), SecretKind.PRIVATE_KEY)
        seen_to = match.end()
    if opened is not None:
        yield _Span(opened.start(), _end_of_key(text, opened.end(), len(text)), SecretKind.PRIVATE_KEY)


_KEY_LINES = re.compile(
    r"(?:\s{0,80}(?:[A-Za-z0-9-]{1,30}: [^\n]{0,120}(?=\n)|[A-Za-z0-9+/=\\]{1,4000}(?=[ \t]{0,8}(?:\n|$|\"|'|\.|…))))*"
)
_KEY_LINES_BEFORE = re.compile(r"(?:[A-Za-z0-9+/=\\]{16,4000}\s{1,80})+\Z")


def _end_of_key(text: str, start: int, end: int) -> int:
    lines = _KEY_LINES.match(text, start, min(end, start + LONGEST_KEY))
    return lines.end() if lines is not None else start


def _start_of_key(text: str, seen_to: int, end: int) -> int:
    start = max(seen_to, end - LONGEST_KEY)
    lines = _KEY_LINES_BEFORE.search(text[start:end])
    return start + lines.start() if lines is not None else end


# Secrets inside a line


def _secrets(text: str) -> list[_Span]:
    """The secrets of `text` in order, without overlaps and outside placeholders."""
    lower = _lowered(text)
    starts = {words: _starts(lower, words) for words in {rule.starts for rule in _RULES}}
    found: list[_Span] = []
    for rule in _RULES:
        found.extend(_found_by(rule, text, starts[rule.starts]))
    found += [_Span(start, end, SecretKind.CARD) for start, end in rules.card_numbers(text)]
    found += _issued_tokens(text)
    return _apart(found, [match.span() for match in _PLACEHOLDER.finditer(text)]) if found else []


def _found_by(rule: "_Rule", text: str, starts: Sequence[int]) -> Iterator[_Span]:
    hidden_to = 0
    line_end = -1
    for start in starts:
        if start < hidden_to:
            continue
        if start > line_end:
            line_end = text.find("\n", start)
            line_end = len(text) if line_end < 0 else line_end
        match = rule.pattern.match(text, start, min(line_end, start + _REACH))
        if match is not None:
            for span in rule.judge(match):
                hidden_to = span.end
                yield span


def _starts(lower: str, words: Sequence[str]) -> list[int]:
    """Where one of `words` stands in `lower`, in order."""
    found: set[int] = set()
    for word in words:
        at = lower.find(word)
        while at >= 0:
            found.add(at)
            at = lower.find(word, at + 1)
    return sorted(found)


def _lowered(text: str) -> str:
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := char.lower()) == 1 else char for char in text)


def _apart(spans: list[_Span], placeholders: list[tuple[int, int]]) -> list[_Span]:
    """`spans` merged where they overlap, without those that touch a placeholder."""
    spans.sort(key=lambda span: (span.start, -span.end))
    result: list[_Span] = []
    beyond = max(span.end for span in spans) + 1
    taken = iter([*placeholders, (beyond, beyond)])
    hidden = next(taken)
    for span in spans:
        while hidden[1] <= span.start:
            hidden = next(taken)
        if span.end > hidden[0]:
            continue
        if result and span.start < result[-1].end:
            last = result[-1]
            result[-1] = _Span(last.start, max(last.end, span.end), last.kind)
        else:
            result.append(span)
    return result


def _word(match: re.Match[str]) -> str:
    return match["password"] or match["token"] or ""


def _kind(match: re.Match[str]) -> SecretKind:
    if match["password"]:
        return SecretKind.PASSWORD
    word = match["token"].lower()
    if "key" in word or match["tail"].lower().endswith("key"):
        return SecretKind.KEY
    return SecretKind.TOKEN if word.startswith("token") else SecretKind.SECRET


@dataclass(frozen=True)
class _Value:
    """A value as it was written, and where."""

    text: str
    start: int
    end: int
    quoted: bool


_NEXT_FIELD = re.compile(r"[&;,|][ \t]*[A-Za-z_][\w.-]{0,60}[=:]|[;,]$|\\[nrt]|[&|]{2}")
_CLOSING = ".,;:!?)]}>*\"'`…"


def _value(match: re.Match[str]) -> _Value:
    """The `value` group without its quotes, the next field of the line and the marks that end a sentence."""
    raw, start = match["value"], match.start("value")
    bare = raw.lstrip("\\")
    if bare[:1] in ('"', "'", "`"):
        skipped = len(raw) - len(bare) + 1
        return _Value(raw[skipped:], start + skipped, match.end("value"), quoted=True)
    following = _NEXT_FIELD.search(raw)
    text = raw[: following.start()] if following else raw
    text = text.lstrip("(*") if not text.startswith("(*)") else text
    start += raw.find(text) if text else 0
    text = (
        text.rstrip(_CLOSING)
        if not text.startswith(("$", "{", "<", "%")) and not re.match(r"[\w.]+[(\[]", text)
        else text
    )
    return _Value(text, start, start + len(text), quoted=False)


def _assigned(match: re.Match[str]) -> Iterator[_Span]:
    """`NAME=value`, `name: value`."""
    text, line_end = match.string, match.endpos
    name_start = match.start()
    before = re.search(r"[A-Za-z0-9_.-]{0,60}\Z", text[max(0, name_start - 60) : name_start])
    prefix = before[0] if before else ""
    if rules.names_nothing_secret(prefix, match["tail"], _word(match)):
        return
    value = _value(match)
    if "==" in match["sign"] and not value.quoted:
        return
    rest = text[value.end : min(line_end, value.end + 80)]
    name = prefix + _word(match) + match["tail"]
    sign = match["sign"]
    tight = sign == "="
    if value.text.startswith(("/", "~")) and name == "PWD":
        return
    if match["password"]:
        if (
            _word(match) in {"pass", "pw", "Pass"}
            and not tight
            and not value.quoted
            and not rules.random_looking(value.text)
        ):
            return
        secret = rules.is_password(value.text, rest=rest, quoted=value.quoted, told=":" in sign and not value.quoted)
    else:
        from_environment = name.replace("-", "_").isupper() and ("=" in sign or value.quoted)
        in_query = tight and text[max(0, name_start - len(prefix) - 1) : name_start - len(prefix)] in ("?", "&")
        secret = rules.is_token(value.text, loose=from_environment or in_query, quoted=value.quoted)
    if secret:
        yield _Span(value.start, value.end, _kind(match))


_PHRASE = re.compile(r"[A-Za-z]{3,20}(?:[ \t][a-z]{3,20}){1,9}(?=[ \t]*(?:[.,;!?)\n]|$))")


def _said(match: re.Match[str]) -> Iterator[_Span]:
    """`the password for the box is value`."""
    text, line_end = match.string, match.endpos
    if rules.first_word_is_harmless(match["between"]):
        return
    if (
        match["between"]
        and ":" in match["sign"]
        and not re.match(r"[ \t]*\(?(?:for|of|to|on|at|in|from|there|here|is|was)\b", match["between"])
    ):
        return
    value = _value(match)
    rest = text[value.end : min(line_end, value.end + 80)]
    if match["password"]:
        phrase = (
            _PHRASE.match(text, value.start, line_end) if not value.quoted and _takes_phrases(_word(match)) else None
        )
        if phrase is not None and rules.is_phrase(phrase[0]):
            yield _Span(value.start, phrase.end(), SecretKind.PASSWORD)
            return
        secret = rules.is_password(value.text, rest=rest, quoted=value.quoted, told=True)
    else:
        secret = len(value.text) >= 8 and rules.is_token(value.text, loose=False, quoted=value.quoted)
    if secret:
        yield _Span(value.start, value.end, _kind(match))


def _takes_phrases(word: str) -> bool:
    lower = word.lower()
    return "phrase" in lower or lower.startswith(("wifi", "wi-fi", "wlan", "wpa", "network", "psk"))


def _beside(match: re.Match[str]) -> Iterator[_Span]:
    """`password value`."""
    yield from _if_random(match, match["value"], match.start("value"))


def _used_as(match: re.Match[str]) -> Iterator[_Span]:
    """`value as the password`."""
    words = match.string[max(0, match.start() - 200) : match.start()].rsplit("\n", 1)[-1].split()
    if words:
        yield from _if_random(match, words[-1], match.start() - len(words[-1]))


def _if_random(match: re.Match[str], written: str, start: int) -> Iterator[_Span]:
    """Only what looks random: no word says that it is the secret."""
    text = written.lstrip("\"'`(").rstrip(_CLOSING)
    start += written.find(text)
    harmless = rules.stands_for_something(text) or _FIELD_OR_NAME.fullmatch(text)
    enough = 6 if match["password"] else 12
    if not harmless and len(text) >= enough and rules.random_looking(text) and re.search(r"\d", text):
        yield _Span(start, start + len(text), _kind(match))


_FIELD_OR_NAME = re.compile(r"[\w.-]+[:=/].*|[a-z]+(?:-[a-z0-9]+)+|.*\s.*")


def _paired(match: re.Match[str]) -> Iterator[_Span]:
    """The second half of `name / value`."""
    text = match["value"].rstrip(_CLOSING)
    if rules.random_looking(text) and not rules.stands_for_something(text) and "@" not in text:
        yield _Span(match.start("value"), match.start("value") + len(text), SecretKind.PASSWORD)


def _whole(kind: SecretKind) -> Callable[[re.Match[str]], Iterator[_Span]]:
    """A judge that takes every value which is no reference."""

    def judge(match: re.Match[str]) -> Iterator[_Span]:
        value = _value(match)
        if value.text and not rules.stands_for_something(value.text):
            yield _Span(value.start, value.end, kind)

    return judge


def _given(match: re.Match[str]) -> Iterator[_Span]:
    """The value of an option: `--api-key value`."""
    name = match[0][: match.start("value") - match.start()].lower()
    kind = next(
        (kind for kind in (SecretKind.KEY, SecretKind.TOKEN, SecretKind.SECRET) if kind in name), SecretKind.PASSWORD
    )
    yield from _whole(kind)(match)


def _in_url(match: re.Match[str]) -> Iterator[_Span]:
    """All but the word for it: `postgresql://USER:PASSWORD@HOST`."""
    if match["value"].lower() not in {"password", "passwd", "pass", "pwd", "secret", "token"}:
        yield from _whole(SecretKind.PASSWORD)(match)


def _in_header(match: re.Match[str]) -> Iterator[_Span]:
    value = match["value"].rstrip(".,:")
    if value.endswith("=") and match.string[match.end() : match.end() + 1] == '"':
        return  # a parameter of the header: `Bearer realm="x"`
    if len(value) >= 24 or (re.search(r"[\d=+/]|[a-z][A-Z]", value) and not rules.stands_for_something(value)):
        yield _Span(match.start("value"), match.start("value") + len(value), SecretKind.TOKEN)


def _before_host(match: re.Match[str]) -> Iterator[_Span]:
    """`name:value@host`."""
    words = re.split(r"[\s\"'`(<]", match.string[max(0, match.start() - 200) : match.start()])
    login = rules.LOGIN_BEFORE_HOST.fullmatch(words[-1])
    if login is not None and rules.random_looking(login["value"]) and not rules.stands_for_something(login["value"]):
        yield _Span(match.start() - len(login["value"]), match.start(), SecretKind.PASSWORD)


def _known(match: re.Match[str]) -> Iterator[_Span]:
    """A token that its issuer marked; of `sk-…` only what is no word."""
    if re.search(r"[0-9A-Z]", match[0][3:]):
        kind = SecretKind.KEY if match[0].startswith(("sk-", "AKIA", "ASIA", "AIza")) else SecretKind.TOKEN
        yield _Span(*match.span(), kind)


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    starts: tuple[str, ...]
    """How its matches begin, in lower case: it is tried there and nowhere else."""
    judge: Callable[[re.Match[str]], Iterator[_Span]]


_RULES = (
    _Rule(URL_PASSWORD, ("://",), _in_url),
    _Rule(rules.TOKEN_SHAPE, rules.TOKEN_STARTS, _known),
    _Rule(KNOWN_TOKEN, rules.TOKEN_STARTS, _known),
    _Rule(rules.HEADER, ("authorization", "proxy-auth", "cookie", "set-cookie", "x-", "bearer"), _in_header),
    _Rule(rules.ASSIGNED, rules.NAME_STARTS, _assigned),
    _Rule(rules.SAID, rules.NAME_STARTS, _said),
    _Rule(rules.BESIDE, rules.NAME_STARTS, _beside),
    _Rule(rules.USED_AS, (" as ", " for "), _used_as),
    _Rule(rules.PAIR, ("cred", "log", "sign in", "basic auth", "wifi", "wi-fi", "wlan", "ssid"), _paired),
    _Rule(rules.OPTION, ("--", "mysql", "mariadb", "sshpass", "docker login", "curl", "wget"), _given),
    _Rule(rules.PIPED, ("echo ",), _whole(SecretKind.PASSWORD)),
    _Rule(rules.SIGNATURE, ("?sig", "&sig", "?x-amz-", "&x-amz-", "?x-goog-", "&x-goog-"), _whole(SecretKind.TOKEN)),
    _Rule(rules.HOST_AFTER_LOGIN, ("@",), _before_host),
)


# The issuers of detect-secrets

_DETECTORS: Mapping[str, tuple[str, str, re.Pattern[str]]] = {
    "artifactory": ("artifactory", "ArtifactoryDetector", re.compile(r"AKC[a-zA-Z0-9]{10}|AP[0-9A-F][a-zA-Z0-9]{8}")),
    "azure": ("azure_storage_key", "AzureStorageKeyDetector", re.compile(r"AccountKey=[a-zA-Z0-9+/=]{80}")),
    "cloudant": ("cloudant", "CloudantDetector", re.compile(r"\.cloudant\.com")),
    "discord": ("discord", "DiscordBotTokenDetector", re.compile(r"\.[\w-]{6}\.[\w-]{27}")),
    "gitlab": ("gitlab_token", "GitLabTokenDetector", re.compile(r"GR1348941")),
    "mailchimp": ("mailchimp", "MailchimpDetector", re.compile(r"-us[0-9]")),
    "slack": ("slack", "SlackDetector", re.compile(r"(?i:hooks\.slack\.com/services/)")),
    "softlayer": ("softlayer", "SoftlayerDetector", re.compile(r"(?i:softlayer)")),
    "square": ("square_oauth", "SquareOAuthDetector", re.compile(r"sq0csp-")),
    "telegram": ("telegram_token", "TelegramBotTokenDetector", re.compile(r"\d{8}:[0-9A-Za-z_-]{35}")),
    "twilio": ("twilio", "TwilioKeyDetector", re.compile(r"(?:AC|SK)[a-z0-9]{32}")),
}  # fmt: skip
"""Module, class, and what must stand in the text for it to run. The others' formats are in our own patterns."""


def _issued_tokens(text: str) -> Iterator[_Span]:
    for module, name, sign in _DETECTORS.values():
        reached = 0
        for seen in sign.finditer(text):
            if seen.start() < reached:
                continue
            start = max(text.rfind("\n", 0, seen.start()) + 1, seen.start() - 100, reached)
            end = text.find("\n", seen.start(), seen.start() + _REACH)
            reached = end = end if end >= 0 else min(len(text), seen.start() + _REACH)
            for pattern in _denylist(module, name):
                for match in pattern.finditer(text, start, end):
                    yield _Span(*_token_inside(match), SecretKind.TOKEN)


@cache
def _denylist(module: str, name: str) -> tuple[re.Pattern[str], ...]:
    detector = getattr(import_module(f"detect_secrets.plugins.{module}"), name)
    return tuple(cast("Sequence[re.Pattern[str]]", detector.denylist))


def _token_inside(match: re.Match[str]) -> tuple[int, int]:
    """The longest group that can be a token, else the match; without the marks around it."""
    groups = [match.span(group) for group in range(1, len(match.groups()) + 1) if len(match[group] or "") >= 16]
    start, end = max(groups, key=lambda span: span[1] - span[0], default=match.span())
    found = match.string[start:end]
    return start + len(found) - len(found.lstrip(" =:\"'\t")), end - len(found) + len(found.rstrip(" \"'\t"))
