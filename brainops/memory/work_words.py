"""The words in which people name work: what is done, to what, and which one.

`add dark mode` and `implement dark theme` are one piece of work because `add` and `implement` are one action and `mode`
and `theme` one thing. The tables below are the general language of software, operations, databases and support; a word may
stand in several groups, `_` joins words of one phrase. What a session calls its own things is not here: that is compared
by stems, and by vectors where they are given.
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from brainops.memory.understanding.words import stem as plain_stem

Role = Literal["action", "thing", "name", "light"]
"""What a word is for: the action, the thing acted on, a name or number that tells one of several, or next to nothing."""

_ACTIONS: dict[str, str] = {
    "add": "add implement introduce create write build make develop set_up provide support generate new ship",
    "test": "test cover verify check prove validate spec",
    "remove": "remove drop delete purge erase get_rid_of rip strip clear clean discard omit leave_out prune eliminate",
    "fix": "fix cure repair solve resolve correct heal mend patch cope handle",
    "change": "change modify alter update adjust edit adapt rework revise rotate replace",
    "replace": "replace swap switch substitute exchange migrate",
    "raise": "raise increase lift bump grow extend widen enlarge double more higher",
    "lower": "lower reduce decrease cut shrink shorten halve less trim save",
    "limit": "limit cap bound restrict throttle below most maximum max upper ceiling",
    "tell": "tell know send answer reply write inform notify explain mail email message announce ask respond contact report",
    "explain": "explain describe document tell show",
    "deploy": "deploy roll_out release ship publish launch deliver push promote go_live install rollout",
    "apply": "apply run execute perform carry_out play",
    "merge": "merge join combine unify consolidate",
    "move": "move migrate transfer port relocate shift bring convert",
    "import": "import load ingest bring adopt",
    "export": "export dump download extract",
    "rename": "rename call name",
    "enable": "enable activate turn_on switch_on on allow",
    "disable": "disable deactivate turn_off switch_off off stop mute silence",
    "start": "start begin launch boot",
    "stop": "stop halt end kill terminate shut_down",
    "find": "find find_out investigate diagnose analyse analyze determine track_down identify look_into root_cause debug",
    "split": "split divide shard partition separate distribute parallelise parallelize spread",
    "speed": "speed accelerate fast faster quick quicker speed_up optimise optimize performance slow",
    "refund": "refund pay_back reimburse give_back repay money_back",
    "revert": "revert undo roll_back rollback restore back_out",
    "restore": "restore recover bring_back",
    "backup": "backup back_up",
    "secure": "secure harden protect lock_down",
    "encrypt": "encrypt cipher",
    "upgrade": "upgrade update newer",
    "rehearse": "rehearse rehearsal dry_run trial drill try practise practice test",
    "measure": "measure benchmark time profile",
    "order": "order buy purchase procure",
    "approve": "approve confirm accept sign_off authorise authorize",
    "close": "close resolve finish",
    "keep": "keep retain preserve hold survive persist store save remember",
    "refuse": "refuse reject deny block forbid decline fail disallow",
    "allow": "allow permit grant admit accept pass let",
    "require": "require mandatory must need compulsory enforce obligatory not_null",
    "rotate": "rotate rotation renew renewal change replace",
    "configure": "configure configurable setting config option configuration adjustable parameter",
    "schedule": "schedule cron nightly timer job periodic automate automatic regular",
    "fetch": "fetch get pull retrieve load read download",
    "read": "read parse reader parser",
    "wait": "wait extend hold delay pause postpone",
    "show": "show display render print list",
    "hide": "hide mask redact conceal",
    "log": "log record journal trace",
    "page": "page paginate paging pagination",
    "cache": "cache memoise memoize",
    "copy": "copy duplicate clone replicate",
    "backfill": "backfill fill populate",
    "tag": "tag label mark flag",
    "warn": "warn alert alarm page notify",
    "sign": "sign signature",
    "balance": "balance weigh weight weighted even equal",
}

_THINGS: dict[str, str] = {
    "theme": "theme mode appearance skin look",
    "login": "login log_in sign_in signin logon authentication auth sign_on",
    "logout": "logout log_out sign_out",
    "secret": "secret passphrase password key credential token",
    "certificate": "certificate cert tls ssl",
    "database": "database db postgres schema",
    "table": "table relation",
    "column": "column field attribute",
    "setting": "setting config configuration option parameter preference flag configurable",
    "test": "test spec check suite trial",
    "e2e": "e2e end_to_end",
    "staging": "staging preproduction test trial",
    "production": "production prod live",
    "machine": "machine host server box node instance",
    "customer": "customer client account user tenant",
    "people": "person people somebody user customer",
    "developer": "developer engineer programmer",
    "ticket": "ticket issue case request",
    "request": "request call query hit",
    "bug": "bug defect error fault problem failure",
    "message": "message mail email letter note",
    "hint": "hint workaround tip advice",
    "doc": "doc docs documentation manual readme guide handbook page",
    "phone": "phone mobile handset device app",
    "duration": "duration time long runtime took minutes",
    "reload": "reload refresh restart",
    "queue": "queue backlog queued",
    "fixed": "fixed certain given constant",
    "limit": "limit quota cap maximum threshold",
    "rule": "rule condition threshold alert criterion",
    "alert": "alert alarm page notification",
    "disk": "disk storage volume drive",
    "memory": "memory ram",
    "picture": "picture image photo thumbnail",
    "order": "order purchase",
    "invoice": "invoice bill",
    "payment": "payment charge",
    "nightly": "nightly night",
    "dependency": "dependency package library",
    "version": "version release",
    "changes": "changed updated delta incremental differential",
    "small": "small partial little short",
    "dashboard": "dashboard panel board",
    "completion": "completion autocomplete autocompletion",
    "many": "many several multiple number count amount",
    "old": "old legacy stale former age oldest",
    "outage": "outage downtime incident",
    "permission": "permission right access privilege grant",
    "role": "role group",
    "reason": "reason cause why because",
    "button": "button link",
    "screen": "screen view page",
    "search": "search lookup find query",
    "language": "language translation locale i18n",
    "worker": "worker consumer",
    "pipeline": "pipeline ci build workflow",
    "retry": "retry repeat again",
    "timeout": "timeout deadline",
    "network": "network lan vpn",
    "card": "card nic adapter",
    "clock": "clock time",
    "delay": "delay lag latency",
    "hour": "hour hourly",
    "day": "day daily",
    "week": "week weekly",
}

ACTIONS = frozenset(_ACTIONS)
"""The groups of actions, by name."""

OPPOSITES: tuple[tuple[str, str], ...] = (
    ("add", "remove"),
    ("keep", "remove"),
    ("raise", "lower"),
    ("enable", "disable"),
    ("enable", "remove"),
    ("start", "stop"),
    ("import", "export"),
    ("deploy", "revert"),
    ("backup", "restore"),
    ("allow", "refuse"),
    ("show", "hide"),
    ("login", "logout"),
    ("merge", "split"),
)
"""Groups of actions of which one undoes the other."""

_EXCLUSIVE = """open close, lock unlock, mute unmute, encrypt decrypt, upgrade downgrade, mandatory optional, mandatory nullable,
    required optional, connect disconnect, grant revoke, install uninstall, subscribe unsubscribe, attach detach, dark light,
    read write, staging production, primary replica, inbound outbound, upload download, public private, pin unpin"""
"""Words of which one excludes the other as a name of the same work."""

_IRREGULAR_FORMS: dict[str, str] = {
    "begin": "began begun",
    "break": "broke broken",
    "bring": "brought",
    "build": "built",
    "buy": "bought",
    "catch": "caught",
    "choose": "chose chosen",
    "draw": "drew drawn",
    "find": "found",
    "freeze": "froze frozen",
    "give": "gave given",
    "go": "went gone",
    "hide": "hid hidden",
    "hold": "held",
    "keep": "kept",
    "leave": "left",
    "lose": "lost",
    "make": "made",
    "mean": "meant",
    "overwrite": "overwrote overwritten",
    "pay": "paid",
    "rebuild": "rebuilt",
    "rewrite": "rewrote rewritten",
    "run": "ran",
    "sell": "sold",
    "send": "sent",
    "shrink": "shrank shrunk",
    "speak": "spoke spoken",
    "spend": "spent",
    "take": "took taken",
    "teach": "taught",
    "tell": "told",
    "throw": "threw thrown",
    "undo": "undid undone",
    "withdraw": "withdrew withdrawn",
    "write": "wrote written",
}
_IRREGULAR = {form: verb for verb, forms in _IRREGULAR_FORMS.items() for form in forms.split()}

PAST_FORMS = frozenset(_IRREGULAR)
"""Irregular verbs in the past."""

_STOP = frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "again",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "doing",
        "done",
        "down",
        "during",
        "each",
        "either",
        "else",
        "ever",
        "every",
        "few",
        "for",
        "from",
        "further",
        "had",
        "has",
        "have",
        "having",
        "he",
        "her",
        "here",
        "hers",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "itself",
        "just",
        "me",
        "mine",
        "more",
        "most",
        "much",
        "my",
        "no",
        "nor",
        "not",
        "now",
        "of",
        "on",
        "once",
        "only",
        "or",
        "other",
        "our",
        "ours",
        "out",
        "over",
        "own",
        "per",
        "same",
        "she",
        "should",
        "since",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "theirs",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "until",
        "up",
        "us",
        "very",
        "via",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "whether",
        "which",
        "while",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "within",
        "without",
        "would",
        "yes",
        "yet",
        "you",
        "your",
        "yours",
        "let",
        "lets",
        "please",
        "ok",
        "okay",
        "still",
        "ll",
        "ve",
        "re",
        "d",
        "s",
        "t",
        "m",
        "don",
        "didn",
        "isn",
        "aren",
        "wasn",
        "weren",
        "doesn",
        "hasn",
        "haven",
        "hadn",
        "won",
        "wouldn",
        "shouldn",
        "couldn",
    ]
)
_LIGHT = frozenset(
    [
        "thing",
        "stuff",
        "way",
        "use",
        "used",
        "using",
        "get",
        "got",
        "going",
        "go",
        "put",
        "come",
        "work",
        "need",
        "want",
        "like",
        "bit",
        "lot",
        "piece",
        "sort",
        "kind",
        "part",
        "case",
        "sensible",
        "properly",
        "well",
        "good",
        "right",
        "new",
        "own",
        "different",
        "whole",
        "various",
        "number",
        "certain",
        "first",
        "last",
        "next",
        "make",
        "makes",
        "made",
        "let",
        "give",
        "gives",
        "gave",
        "given",
        "set",
        "take",
        "took",
        "have",
        "hold",
        "bring",
        "leave",
        "left",
    ]
)
"""Words that say little of which work it is; they count, but not as much."""

_PHRASE_WORDS = sorted(
    {word for group in (*_ACTIONS.values(), *_THINGS.values()) for word in group.split() if "_" in word},
    key=lambda phrase: (-len(phrase), phrase),
)
_PHRASES = re.compile(r"\b(?:" + "|".join(phrase.replace("_", r"[\s-]") for phrase in _PHRASE_WORDS) + r")\b")
_SEPARATED = re.compile(
    r"\b(switch|turn|pay|roll|shut|sign|log|leave|find|bring|give|back)(?:s|ed)?\s{1,3}((?:[^\s.;:]{1,40}\s{1,3}){1,3}?)"
    r"(off|on|back|out|down|in|up)\b"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PROPER = re.compile(r"(?<=[a-z,] )[A-Z][a-z\u00e0-\u00ff]{2,40}\b")
_TOKEN = re.compile(r"[^\W_](?:[\w.#/:+'-]|(?<=\d),(?=\d))*\w|\w")
_LETTERS = re.compile(r"[^\W\d_]+")
_DIGIT = re.compile(r"\d")
_LETTERED = re.compile(r"[a-z]{3,40}-[a-z]")
"""`pool-b`: one of several."""


class Word(NamedTuple):
    """One word of a description of work."""

    stem: str
    surface: str
    role: Role
    groups: frozenset[str]
    """The groups of actions and things that it may belong to."""
    proper: bool = False
    """Whether it is written like the name of somebody or something."""


def _stem(word: str) -> str:
    return plain_stem(_IRREGULAR.get(word, word))


def _grouped() -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Stem → groups of actions and groups of things that it may belong to."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for which, table in enumerate((_ACTIONS, _THINGS)):
        for name, group in table.items():
            for word in group.split():
                found.setdefault(_stem(word), (set(), set()))[which].add(name)
    return {stem: (frozenset(actions), frozenset(things)) for stem, (actions, things) in found.items()}


def _excluding() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for pair in _EXCLUSIVE.split(","):
        one, other = (_stem(word) for word in pair.split())
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {stem: frozenset(others) for stem, others in found.items()}


_GROUPS = _grouped()
_EXCLUDED = _excluding()
_NONE = frozenset[str]()


def excluded(stem: str) -> frozenset[str]:
    """Stems that cannot be meant together with this one."""
    return _EXCLUDED.get(stem, _NONE)


@lru_cache(maxsize=8_192)
def words(text: str) -> tuple[Word, ...]:
    """The words of `text` that say which work it is, in order, each once; linear in the text."""
    proper = {name.lower() for name in _PROPER.findall(text)}
    plain = _CAMEL.sub(" ", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")).lower()
    # `turn caching off` → `turn off caching`
    plain = _SEPARATED.sub(r"\1 \3 \2", plain)
    plain = _PHRASES.sub(lambda phrase: re.sub(r"[\s-]", "_", phrase.group()), plain)
    found: dict[str, Word] = {}
    for token in _TOKEN.findall(plain):
        for word in _parts(token.partition("'")[0]):
            found.setdefault(word.stem, word._replace(proper=True) if word.surface in proper else word)
    return tuple(found.values())


def _parts(token: str) -> list[Word]:
    """A token as words: an identifier is a name, and the words that it is made of."""
    if not token or token in _STOP:
        return []
    if _stem(token) in _GROUPS:
        return [_word(token)]
    made_of = [part for part in _LETTERS.findall(token) if len(part) > 1 and part not in _STOP]
    if _DIGIT.search(token) or _LETTERED.fullmatch(token):
        name = token.strip("#.:")
        return [Word(name, name, "name", _NONE), *(_word(part) for part in made_of if len(part) > 3)]
    if "_" in token.strip("_"):
        return [Word(token, token, "name", _NONE), *map(_word, made_of)]
    return [_word(part) for part in made_of]


@lru_cache(maxsize=16_384)
def _word(surface: str) -> Word:
    stem = _stem(surface)
    actions, things = _GROUPS.get(stem, (_NONE, _NONE))
    role: Role = "light" if surface in _LIGHT else "action" if actions and not things else "thing"
    return Word(stem, surface, role, actions | things)
