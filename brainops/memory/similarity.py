"""How alike two faults are whose signatures differ: another wording, another runtime, another port.

A signature is a hash: near and far look the same in it. What it was made of is kept beside it, and compared here in
four steps, each of which can only say no to what the earlier ones let pass:

1. The kind of fault, the broken facts, and why the check failed must agree.
2. The log line is read for the *condition* that it names (`EADDRINUSE`, `Address already in use` and
   `BindException` are one), by the sentences of operating systems, runtimes and databases.
3. Some conditions say little without what they are about: `permission denied` on a port is another fault than on a
   file. There, the *subject* must not differ.
4. What is left of the words counts a little where a condition was found, and everything where none was.

Pure, without a model, and linear in the text. The measured precision and recall stand at `SIMILAR_ENOUGH`.
"""

import re
from collections.abc import Set
from functools import lru_cache
from typing import Self

from brainops.contracts.base import Contract
from brainops.contracts.incident import FaultKind, Signature

SIMILAR_ENOUGH = 0.75
"""From here on two signatures are taken for one fault.

Measured by `benchmarks/signatures.py`, 2026-11-21: precision 1.00 and recall 0.83 on 210 held-out pairs (5th percentile of
resampling: 1.00 and 0.76), 1.00 and 0.91 on the 107 by whose mistakes the comparison was made better.
"""

_SAME_CONDITION = 0.8
_BY_WORDS = 0.1
_BY_SUBJECT = 0.1
_SUBJECT_UNSAID = 0.02
"""What a shared condition is worth, and what agreeing words and subjects add; at most 1.0 together."""

_NOTHING_LOGGED = 0.85
"""Two faults without a log line, of one kind and reason, that only another kind of check has seen."""

_ONE_CONDITION = 0.6
"""Factor where only one of the two lines names a known condition."""


class Likeness(Contract):
    """What of a fault is compared."""

    kind: str
    check: str
    reason: str
    ending: str = ""
    template: str = ""
    facts: tuple[str, ...] = ()

    @classmethod
    def of(cls, signature: Signature) -> Self:
        """Read a signature's parts; the first three stand in its key."""
        kind, check, reason = [*signature.key.split("/"), "", ""][:3]
        return cls(
            kind=kind,
            check=check,
            reason=reason,
            ending=signature.ending,
            template=signature.template,
            facts=signature.facts,
        )


def family(kind: str) -> str:
    """The kind under which faults are compared: a crash loop is a crash."""
    return FaultKind.CRASH.value if kind == FaultKind.CRASH_LOOP.value else kind


def similarity(one: Likeness, other: Likeness) -> float:
    """How sure it is that both are the same fault, 0 to 1; symmetric, and 1 for equals."""
    if family(one.kind) != family(other.kind) or set(one.facts) != set(other.facts):
        return 0.0
    if not _reasons_agree(one.reason, other.reason) or _only_one_succeeded(one.ending, other.ending):
        return 0.0
    if one.template == other.template:
        return _without_words(one, other)
    if not one.template or not other.template:
        return 0.0
    alike = _lines(one.template, other.template, subject_known=bool(one.facts))
    return alike if one.reason == other.reason or alike >= _SAME_CONDITION else 0.0


def condition(line: str) -> str:
    """What a line of a log says went wrong, as one of the names below; empty where it is none of them."""
    return _read(line).condition


_ALIKE_REASONS = (
    frozenset({"refused", "reset"}),
    frozenset({"status", "body", "error", "header"}),
)
"""Reasons that one fault gives by turns; told apart by the log line."""


def _reasons_agree(one: str, other: str) -> bool:
    return one == other or any({one, other} <= group for group in _ALIKE_REASONS)


def _only_one_succeeded(one: str, other: str) -> bool:
    return bool(one and other) and (one == "exit 0") != (other == "exit 0")


def _without_words(one: Likeness, other: Likeness) -> float:
    """Equal lines, or none at all."""
    if one.ending != other.ending:
        # With a line, it and not the exit code says what happened; without one, the code is all that is known.
        return 0.95 if one.template else 0.0
    if one.reason != other.reason:
        return 0.9 if one.template else 0.0
    if one.check != other.check:
        return 0.95 if one.template else _NOTHING_LOGGED
    return 1.0


def _lines(one: str, other: str, *, subject_known: bool) -> float:
    """How alike two lines are. `subject_known`: the broken facts, equal in both, say what it is about."""
    first, second = _read(one), _read(other)
    words = _shared(first.words, second.words)
    if not first.condition and not second.condition:
        return words
    if first.condition != second.condition:
        return 0.0 if first.condition and second.condition else words * _ONE_CONDITION
    score = _SAME_CONDITION + _BY_WORDS * words
    if first.condition not in _NEEDS_SUBJECT:
        return min(1.0, score + _BY_SUBJECT)
    if first.subject == second.subject:
        return score + (_BY_SUBJECT if first.subject else _SUBJECT_UNSAID)
    if subject_known:
        return score + _SUBJECT_UNSAID
    return 0.0 if first.subject and second.subject else score - _BY_SUBJECT


class _Reading(Contract):
    """What a template says."""

    condition: str
    subject: str
    words: frozenset[str]


@lru_cache(maxsize=1024)
def _read(template: str) -> _Reading:
    text = _plain(template)
    return _Reading(
        condition=_first(_CONDITIONS, text),
        subject=_first(_SUBJECTS, text),
        words=frozenset(_stem(word) for word in re.findall(r"[a-z]{2,}", re.sub(r"<\w+>", " ", text))),
    )


def _plain(template: str) -> str:
    """Lower case, with the words of `CamelCase`, `snake_case` and `kebab-case` apart."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", template)
    return re.sub(r"[\s_-]+", " ", parted).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def _first(table: tuple[tuple[str, re.Pattern[str]], ...], text: str) -> str:
    return next((name for name, pattern in table if pattern.search(text)), "")


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def _shared(one: Set[str], other: Set[str]) -> float:
    """Weighted Dice coefficient: rare words count, those that any error has hardly do."""
    both = sum(_weight(word) for word in one & other)
    total = sum(_weight(word) for word in one) + sum(_weight(word) for word in other)
    return 2 * both / total if total else 0.0


def _weight(word: str) -> float:
    if word in _STOP_WORDS:
        return 0.0
    return 0.2 if word in _COMMON else 1.0


_STOP_WORDS = frozenset(
    {
        *("the", "an", "to", "of", "in", "on", "at", "by", "is", "was", "be", "for", "and", "or", "with", "from"),
        *("it", "its", "has", "have", "this", "that", "as", "but", "been", "are", "while", "when", "no", "not"),
    }
)
_COMMON = frozenset(
    _stem(word)
    for word in (
        *("error", "errno", "exception", "fatal", "panic", "failed", "failure", "fail", "could", "cannot", "unable"),
        *("critical", "emerg", "severe", "warning", "main", "thread", "caused", "java", "lang", "net", "io", "org"),
        *("server", "service", "process", "start", "run", "runtime", "exit", "code", "status", "goroutine", "uncaught"),
        *("unhandled", "traceback", "os", "util", "called", "result", "value", "err", "msg", "message", "level"),
    )
)
"""Words that nearly every error line has: the weights of an inverse document frequency, written down."""


def _table(*rows: tuple[str, str]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((name, re.compile(pattern, re.VERBOSE)) for name, pattern in rows)


# Spaces in the patterns are written as `\s`: they are verbose. The first that matches is taken, so what is more
# specific stands first (`certificate verify failed: certificate has expired` is an expiry).
_CONDITIONS = _table(
    (
        "address in use",
        r"address\s(?:is\s)?already\sin\suse | eaddrinuse | addr(?:ess)?\sin\suse | port\s.{0,40}already\sin\suse",
    ),
    ("address unavailable", r"cannot\sassign\srequested\saddress | eaddrnotavail"),
    (
        "certificate expired",
        r"cert(?:ificate)?\s(?:has\s|is\s)?expired | expired\scert | certificate\sexpired | validity\speriod | not\safter",
    ),
    (
        "certificate name",
        r"hostname\smismatch | does(?:n't|\snot)\smatch.{0,60}(?:alt|name|certificate) | cert(?:ificate)?\sis\s(?:not\s)?valid\sfor | altnames?",
    ),
    (
        "certificate untrusted",
        r"""self\ssigned | unknown\sauthority | local\sissuer | certificate\sverify\sfailed | certification\spath
        | unknown\sca\b | verify\sthe\sfirst\scertificate | unknown\sissuer""",
    ),
    ("key mismatch", r"key\svalues?\smismatch | private\skey\sdoes\snot\smatch"),
    (
        "too many connections",
        r"""too\smany\s(?:clients|connections) | remaining\sconnection\sslots | max(?:imum)?\snumber\sof\sclients
        | (?:queue\s?pool|connection\spool|pool)\s.{0,40}(?:limit|exhausted|timed\sout|timeout|full)
        | connection\sis\snot\savailable | pool\stimed?\s?out""",
    ),
    (
        "database starting",
        r"database\ssystem\sis\s(?:starting|shutting|in\srecovery) | loading\sthe\sdataset | \bis\sloading\b | not\syet\saccepting",
    ),
    (
        "authentication",
        r"""authentication\sfailed | access\sdenied\sfor\suser | wrongpass | noauth | login\sfailed | invalid\spassword
        | invalid\susername | authentication\srequired | no\spg\shba\.conf\sentry""",
    ),
    (
        "missing table",
        r"relation\s.{0,40}does\snot\sexist | no\ssuch\stable | undefined\stable | table\s.{0,40}does(?:n't|\snot)\sexist",
    ),
    ("missing column", r"column\s.{0,40}does\snot\sexist | no\ssuch\scolumn | undefined\scolumn | unknown\scolumn"),
    ("missing database", r"database\s.{0,40}does\snot\sexist | unknown\sdatabase"),
    ("missing role", r"role\s.{0,40}does\snot\sexist"),
    ("lock timeout", r"lock\swait\stimeout | lock\stimeout | canceling\sstatement\sdue\sto\slock"),
    ("deadlock", r"deadlock | all\sgoroutines\sare\sasleep"),
    ("statement timeout", r"statement\stimeout"),
    ("read only database", r"read\s?only\s(?:transaction|replica|database) | you\scan't\swrite\sagainst"),
    (
        "already running",
        r"""already\srunning | another\s(?:instance|server|process|copy)\b | lock\sfile\s.{0,40}already\sexists
        | pid\s?file\s.{0,60}exists | already\slocked | could\snot\s(?:get|obtain|acquire)\slock | unable\sto\slock | failed\sto\sobtain\snode\slock""",
    ),
    ("database locked", r"database\sis\slocked | database\stable\sis\slocked"),
    (
        "name resolution",
        r"""name\sor\sservice\snot\sknown | name\sresolution | getaddrinfo | enotfound | eai\sagain | no\ssuch\shost
        | unknown\shost | nodename\snor\sservname | could\snot\sresolve | couldn't\sresolve | host\snot\sfound
        | failed\sto\slookup\saddress | name\sdoes\snot\sresolve | could\snot\stranslate\shost""",
    ),
    (
        "no room",
        r"no\sspace\sleft | enospc | disk\squota | disk\s(?:is\s)?full | edquot | not\senough\s(?:disk\s)?space",
    ),
    ("read only file system", r"read\sonly\sfile\s?system | erofs"),
    (
        "too many threads",
        r"""create\s(?:new\s|a\s)?native\sthread | can't\sstart\snew\sthread | failed\sto\screate\snew\sos\sthread
        | pthread\screate | spawn\sthread""",
    ),
    (
        "out of memory",
        r"""out\sof\smemory | \boom\b | cannot\sallocate\smemory | can't\sallocate | enomem | memory\serror | heap\sspace | heap\slimit
        | memory\sallocation\s(?:of|failed) | bad\salloc | allocation\sfailed | gc\soverhead | failed\sto\sallocate""",
    ),
    (
        "too many files",
        r"too\smany\sopen\sfiles | emfile | enfile | (?:file\s)?descriptor\slimit | worker\sconnections\sare\snot\senough",
    ),
    (
        "stack overflow",
        r"stack\soverflow | maximum\srecursion | recursion\serror | maximum\scall\sstack | overflowed\sits\sstack | stack\sexceeds",
    ),
    (
        "missing library",
        r"""error\swhile\sloading\sshared | cannot\sopen\sshared\sobject | undefined\ssymbol | library\snot\sloaded
        | unsatisfied\slink | version\s.{0,40}not\sfound\s\(required""",
    ),
    (
        "missing module",
        r"""no\smodule\snamed | module\snot\sfound | cannot\sfind\s(?:module|package) | class\snot\sfound | no\sclass\sdef
        | cannot\simport\sname | import\serror | load\smain\sclass | is\snot\sin\sstd""",
    ),
    (
        "missing setting",
        r"""environment\svariable | env\svar | missing\s(?:required\s)?(?:setting|configuration|config\b|option|variable)
        | required\s(?:setting|option|key|property|field|configuration) | (?:must|not)\s(?:be\s)?set\b | could\snot\sresolve\splaceholder
        | missing\sfield""",
    ),
    (
        "nothing there",
        r"""null\spointer | nil\spointer | propert(?:y|ies)\sof\s(?:undefined|null) | none\s?type | unwrap\(\)?.{0,20}none
        | of\sundefined | of\snull | nil\smap""",
    ),
    ("out of range", r"out\sof\s(?:range|bounds) | index\serror"),
    ("division by zero", r"(?:division|divide|modulo)\s(?:by|or\smodulo\sby)\s?zero | zero\sdivision | /\sby\szero"),
    (
        "no number",
        r"invalid\sliteral\sfor\sint | number\sformat | parse\s?int\b | invalid\sdigit | could\snot\sconvert\sstring\sto\sfloat | atoi",
    ),
    ("sql syntax", r"syntax\serror\sat\sor\snear | error\sin\syour\ssql\ssyntax"),
    (
        "corrupt data",
        r"""corrupt | checksum | invalid\spage | not\sa\sdatabase | image\sis\smalformed | bad\smagic | bad\sfile\sformat
        | invalid\s(?:primary\s)?checkpoint | valid\scheckpoint | invalid\srecord""",
    ),
    (
        "unreadable content",
        r"""json\s?decode | unexpected\stoken | invalid\scharacter | unexpected\send\sof | expecting\s(?:value|property|delimiter)
        | pars(?:er?|ing)\serror | toml\sdecode | error\sparsing | unknown\sdirective | unexpected\s["}'<] | mapping\svalues
        | (?:could\snot|cannot|can't|failed\sto|unable\sto)\s(?:parse|decode|unmarshal|deserialize) | did\snot\sfind\sexpected
        | invalid\s(?:json|yaml|toml|xml|number\sof\sarguments) | malformed | bad\sdirective | unmarshal
        | expected\s.{0,40}\s(?:at|on)\sline | json\sparse | eof\swhile\sparsing | scanner\serror | premature\send\sof | unterminated
        | missing\sclosing | not\sterminated\sby | bad\sconfig""",
    ),
    (
        "another version",
        r"incompatible\swith | unsupported\s(?:class|version|major) | version\smismatch | can't\shandle\srdb",
    ),
    (
        "refused",
        r"connection\s(?:to\s.{0,80}\s)?refused | econnrefused | actively\srefused | connect\sexception | connect\scall\sfailed",
    ),
    ("unreachable", r"no\sroute\sto\shost | ehostunreach | network\sis\sunreachable | enetunreach"),
    (
        "reset",
        r"connection\s(?:was\s)?(?:reset|aborted|closed) | econnreset | broken\spipe | terminating\sconnection | server\sclosed\sthe\sconnection | socket\shang\sup",
    ),
    ("timeout", r"tim(?:ed|e)\s?out | deadline\sexceeded"),
    (
        "permission",
        r"permission\sdenied | eacces | access\s(?:is\s)?denied | not\spermitted | eperm | permission\serror",
    ),
    ("missing file", r"no\ssuch\sfile | enoent | (?:file|path)\snot\sfound | cannot\sfind\sthe | can't\sopen\sconfig"),
    ("segmentation fault", r"segmentation\s(?:fault|violation) | sigsegv | core\sdumped"),
    ("assertion", r"assert(?:ion)?\s(?:failed|error|failure) | assertion\s.{0,60}failed"),
    ("too many requests", r"too\smany\srequests | rate\slimit"),
    ("unauthorised", r"\bunauthori[sz]ed | \bforbidden | invalid\s(?:api\s)?(?:key|token) | token\s(?:has\s)?expired"),
)

_NEEDS_SUBJECT = frozenset(
    {"refused", "unreachable", "reset", "timeout", "permission", "missing file", "authentication", "unreadable content"}
)
"""Conditions that say little without what they are about."""

_SUBJECTS = _table(
    ("listening", r"\bbind | \blisten"),
    ("cache", r"redis | memcache | valkey | jedis | lettuce"),
    ("queue", r"rabbit | amqp | kafka | \bnats\b | broker | pika | bootstrap"),
    ("mail", r"\bsmtp | \bmail"),
    (
        "database",
        r"postgres | psycopg | \bpgx?\b | libpq | sqlx | sqlalchemy | mysql | mariadb | jdbc | hikari | database | \bsql | \bpq\b | mongo | connection\sto\sserver",
    ),
    ("upstream", r"upstream | https?\sconnection | urllib | gateway"),
    ("log", r"\blog\s?(?:file|ger|ging)?\b"),
    ("pid file", r"\bpid\b"),
    ("certificate", r"\bcert | \bssl | \btls | private\skey | pem"),
    ("program", r"\bexec | \bspawn | executable | command\snot"),
    ("configuration", r"config | settings | \bconf\b | yaml | toml | \bini\b | propert | directive"),
    ("answer", r"\bresponse | \banswer | \bbody\b"),
)
