"""How secrets are written down, and what only looks like one.

The rules of `brainops.telemetry.redaction` hide too much for a memory: `token = get_token()` and `password: required`
are knowledge there. Here each name beside a value is judged with the value: what people type as a password has digits
or marks in it, stands at the end of its clause, and is neither a reference nor the name of something.
"""

import re
from enum import StrEnum


def words_of(text: str) -> frozenset[str]:
    """The words of a list that is written as text."""
    return frozenset(text.split())


class SecretKind(StrEnum):
    """What was hidden; stands in the placeholder."""

    PRIVATE = "private"
    PRIVATE_KEY = "private key"
    PASSWORD = "password"  # noqa: S105
    TOKEN = "token"  # noqa: S105
    SECRET = "secret"  # noqa: S105
    KEY = "key"
    CARD = "card number"


_NAMES_OF_PASSWORDS = (
    r"pass(?:words?|wd|phrase|code)|passwort|kennwort|contraseñ?n?a|senha|wachtwoord|mot de passe|pwd|psk"
    r"|requirepass|masterauth|identified by|(?:ssid|wi-?fi|wlan)[^\n=]{0,30}?[ ,;/(](?:key|pass|pw)(?![a-z])"
    r"|(?:wpa[23]?|wi-?fi|wlan|network)[ _-]?(?:key|pass|pw|password)"
)
_NAMES_OF_KEYS = (
    r"token(?![a-z])|secrets?(?![a-z])|credentials?|creds"
    r"|(?:api|access|private|signing|encryption|auth|ssh|master|account|session|service|client|db|database|storage"
    r"|deploy|license|secret|access[ _-]key[ _-]id)[ _-]?keys?(?![a-z])"
)
# Case decides here: `SMTP_PASS=`, `dbPass`, a `pass:` of its own; `bypass` and `passed` are none.
_SHORT_NAMES = (
    r"(?-i:(?<=[a-z])Pass(?![a-z])|(?<![A-Za-z])PASS(?![A-Za-z])|(?<![A-Za-z-])pass(?![A-Za-z])"
    r"|(?<![A-Za-z])p[wW](?![A-Za-z])|(?<![A-Za-z])PW(?![A-Za-z])|\bPIN\b|\bpin[ -]?code\b|\bpin(?=(?:[ ]is|:)[ ]\d{4,8}\b))"
)
_UPPER_KEY = r"(?-i:(?<=[A-Z0-9]_)KEYS?(?![A-Za-z]))"

_SENSITIVE = rf"(?:(?P<password>{_NAMES_OF_PASSWORDS}|{_SHORT_NAMES})|(?P<token>{_NAMES_OF_KEYS}|{_UPPER_KEY}))"

NAME_STARTS = (
    "pass", "kennwort", "contrase", "senha", "wachtwoord", "mot de passe", "pwd", "psk", "pw", "pin", "wpa", "wifi", "wi-fi", "wlan",
    "network", "ssid", "requirepass", "masterauth", "identified by", "token", "secret", "credential", "creds", "key", "api", "access", "private", "signing", "encryption", "auth", "ssh",
    "master", "account", "session", "service", "client", "db", "database", "storage", "deploy", "license",
)  # fmt: skip
"""How the sensitive names begin, in lower case."""

_VALUE = (
    r"(?P<value>\"(?:\\.|[^\"\\\n]){0,4000}|'(?:\\.|[^'\\\n]){0,4000}|`[^`\n]{0,4000}"
    r"|\\{1,8}[\"'][^\"'\n\\]{0,4000}|\$?[^\s\"'`\\][^\s\"'`]*)"
)

ASSIGNED = re.compile(
    rf"{_SENSITIVE}(?P<tail>[A-Za-z0-9_-]{{0,40}})"
    r"(?P<sign>[\\\"'`*\]]{0,8}[ \t]{0,8}(?:=>|:=|!?={1,3}|:|→|->)[ \t*]{0,8}"
    r"|[ \t]{1,8}(?=[\"'])|\([ \t]?(?=[\"']))"
    r"(?P<scheme>(?:bearer|basic|token|digest)[ \t]{1,8})?"
    rf"{_VALUE}",
    re.IGNORECASE,
)
"""`DB_PASSWORD=x`, `password: "x y"`, `**Token:** x`, `{\"token\": \"x\"}`, `#define WIFI_PASSWORD "x"`."""

SAID = re.compile(
    rf"(?<![A-Za-z0-9_]){_SENSITIVE}(?P<tail>)"
    r"(?P<between>(?:[ \t]{1,4}\(?[^\s:=.,;!?\"'`]{1,24}){0,6}?)"
    r"(?P<sign>[ \t]{0,4}(?::|=|→|->)[ \t]{1,4}"
    r"|[ \t]{1,4}(?:is|was|are|ist|es|will[ ]be|should[ ]be|stays|remains|became|becomes|(?:changed|reset|set|rotated)[ ]to)"
    r"(?:[ \t]{1,4}(?:now|still|currently|just|again|simply|back[ ]to|(?:set|changed|reset|rotated)[ ]to))?[ \t:]{1,4})"
    rf"{_VALUE}",
    re.IGNORECASE,
)
"""`the password for the box is x`, `wifi key at the shed: x`."""

BESIDE = re.compile(
    rf"(?<![A-Za-z0-9_]){_SENSITIVE}(?P<tail>)[ \t]{{1,4}}(?P<value>[\"'`(]?[A-Za-z0-9+/!@#$%^&*_~-][^\s\"'`()<>]{{5,200}})",
    re.IGNORECASE,
)
"""`user admin password x`: only what looks random counts."""

USED_AS = re.compile(
    r"[ \t](?:as|for)[ \t]{1,4}(?:(?:the|its|your|my|our|an?)[ \t]{1,4})?"
    rf"(?:[a-z-]{{1,20}}[ \t]{{1,4}}){{0,2}}?{_SENSITIVE}(?P<tail>)(?![A-Za-z0-9_])",
    re.IGNORECASE,
)
"""What follows the value in `use x as the admin password`."""

PAIR = re.compile(
    r"\b(?:creds?|credentials?|log(?:in|on|ged)[ ]?(?:in)?|sign[ ]in|basic[ ]auth|wi-?fi|wlan|ssid)\b(?P<between>[^\n:/=]{0,60}?)"
    r"(?:[ :=]|is|are|with|as|\()[ \t]{0,4}[`\"'(]?(?P<user>[\w.@+-]{2,64})[ ]?[/:|][ ]?(?P<value>[^\s\"'`()<>/]{4,200})",
    re.IGNORECASE,
)
"""`login: admin / x`."""

OPTION = re.compile(
    r"(?<![\w-])(?:--(?:[a-z0-9]{1,20}-){0,4}(?:pass(?:word|phrase|wd|code)?|pwd|secret|token|credential|(?:api|access|auth|secret|private)-?key)"
    r"(?:[ \t]{1,4}|=)"
    r"|(?:mysql|mysqldump|mysqladmin|mariadb|sshpass)\b[^\n|;]{0,120}?[ ]-p[ ]?"
    r"|docker login\b[^\n|;]{0,120}?[ ]-p[ ]{1,4}"
    r"|(?:curl|wget)\b[^\n|;]{0,300}?[ ](?:-u|--user)[ =]?[\"']?[^\s:\"']{1,64}:)"
    r"(?P<value>\"[^\"\n]{1,400}|'[^'\n]{1,400}|[^\s\"'`<>-][^\s\"'`]*)",
    re.IGNORECASE,
)
"""`--password x`, `curl -u me:x`, `mysql -px`."""

PIPED = re.compile(
    r"echo[ ]{1,4}(?:-n[ ])?(?P<value>\"[^\"\n]{1,400}|'[^'\n]{1,400}|[^\s|\"']{1,400})[\"']?[ ]{0,4}\|[ ]{0,4}sudo\b[^\n|]{0,40}-S"
)
"""`echo x | sudo -S`."""

HEADER = re.compile(
    r"\b(?:(?:proxy-)?authorization[\\\"'`]{0,4}[ \t]{0,4}[:=][ \t]{0,4}[\\\"'`]{0,4}(?:[a-z]{1,12}[ \t]{1,4})?"
    r"|(?:set-)?cookie[\\\"']{0,4}[ \t]{0,4}:[ \t]{0,4}[\\\"']{0,4}[\w.-]{1,64}="
    r"|x-[a-z]{1,20}-(?:key|token|signature|secret)[\\\"'`]{0,4}[ \t]{0,4}:[ \t]{0,4}[\\\"'`]{0,4}"
    r"|\bbearer[ \t]{1,8})(?P<value>[A-Za-z0-9._~+/=:%-]{5,})",
    re.IGNORECASE,
)
"""`Authorization: Basic x`, `Cookie: id=x`, `Bearer x`."""

SIGNATURE = re.compile(
    r"[?&](?:sig|signature|x-amz-signature|x-amz-security-token|x-goog-signature)=(?P<value>[\w%.+/=-]{12,})",
    re.IGNORECASE,
)

HOST_AFTER_LOGIN = re.compile(r"@[\w-]{1,64}(?:\.[\w-]{1,64}|:\d)")
LOGIN_BEFORE_HOST = re.compile(r"[\w.+-]{1,64}:(?P<value>[^\s@/:\"'`]{6,128})")
"""`me:x@db.example.com`, without a scheme."""

TOKEN_SHAPE = re.compile(
    r"(?<![A-Za-z0-9_-])(?P<value>"
    r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{8,}"
    r"|gh[pousr]_[A-Za-z0-9_]{8,}|github_pat_[A-Za-z0-9_]{8,}|gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas)-[A-Za-z0-9_-]{12,}"
    r"|sk-(?:test|live|proj|ant|or|svcacct)-[A-Za-z0-9_-]{4,}|sk-(?=[A-Za-z_-]{0,80}[0-9])[A-Za-z0-9_-]{16,}"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9_]{6,}|whsec_[A-Za-z0-9+/=_]{8,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{8,}|xapp-[A-Za-z0-9-]{10,}"
    r"|AIza[0-9A-Za-z_-]{30,}|ya29\.[A-Za-z0-9_-]{10,}|GOCSPX-[A-Za-z0-9_-]{10,}"
    r"|hf_[A-Za-z0-9]{16,}|npm_[A-Za-z0-9]{16,}|pypi-[A-Za-z0-9_-]{16,}|dckr_pat_[A-Za-z0-9_-]{8,}"
    r"|SG\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|sq0[a-z]{3}-[A-Za-z0-9_-]{20,}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{16,}"
    r"|hv[sb]\.[A-Za-z0-9_-]{16,}|dop_v1_[a-f0-9]{16,}|glsa_[A-Za-z0-9_]{16,}|tskey-[A-Za-z0-9-]{10,}"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{20,}|bok_[A-Za-z0-9]{1,64}_[A-Za-z0-9_-]{8,}"
    r"|eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}"
    r")"
)
"""What issuers made to be recognised; looser in length than the issuers are, because a cut token is one still."""

TOKEN_STARTS = (
    "akia", "asia", "abia", "acca", "a3t", "agpa", "aida", "aroa", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "gl", "sk-",
    "sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_", "whsec_", "xox", "xapp-", "aiza", "ya29.", "gocspx-",
    "hf_", "npm_", "pypi-", "dckr_pat_", "sg.", "sq0", "shp", "hvs.", "hvb.", "dop_v1_", "glsa_", "tskey-", "age-secret-key",
    "bok_", "eyj",
)  # fmt: skip

_HARMLESS_TAILS = words_of(
    """
    age encryption authentication protection reuse sharing sync list item items entry entries group groups role roles
    age algorithm argument arn attempt attempts bucket budget cache case change changed changes check checker checks class
    column command compare confirm confirmation count counts created date days description encoder endpoint entropy env
    error errors event exp expired expires expiry failed failure field fields file filename files flag flow form format
    generation generator handler hash hashed hasher hashes hashing header help hint history hook id ids index input
    invalid issue issuer kind label leak leaks length lifetime limit limits link lookup loader log logs manager max message
    min minimum missing mode model module name names needed page param params parser path paths placeholder policies
    policy prefix prompt property protected provider proxy quota rate ref reference refresh regex required requirements
    requirement reset resets rotated rotation row rule rules salt scan scanner scanning schema scheme scope scopes screen
    service set setting settings size source state status storage store strategy strength system table test tests text
    time timeout title ttl type types updated uri url usage used user validation validator var variable version window
    """
)
"""`password_reset`, `token_count`, `secret name`: what such a name holds is no secret."""

_HARMLESS_KEYS = words_of(
    """
    primary foreign partition sort cache idempotency dedupe dedup routing object hash range group index lookup public shard
    unique row column map dict json state event effect tail lock message msg translation i18n sign up down home end arrow
    shift hot short enter return
    """
)
"""`PRIMARY_KEY`, `SSH_PUBLIC_KEY`: keys that open nothing."""

_HARMLESS_WORDS = words_of(
    """
    a about above absent accepted active after again all allowed already also always an and another any anybody anymore are
    array as ask asked at auth authentication auto bad be because been before being below blank boolean bool bytes both
    broken but by bytea can cannot changed char chars char common correct could default deprecated different disabled do
    does done during each either else empty enabled encrypted enter every everywhere exists expired expires expiring
    explicitly external fails failed false field fine flaky for forgotten from generated given gone good goes had has
    hardcoded hashed have here hers his how however i if in incorrect inside int integer into invalid is issued it its
    just kept key known later leaked literal locked long longer lost me mandatory maybe missing more must my na needed
    needs never new nil no nobody none not nothing now null number object of off ok okay old on once one only optional or
    other our out over owned part password passwords pending per perhaps plain please present private probably provided
    public random read readable redacted rejected removed required reset returned returns revoked right rotated safe same
    secret secrets see sent set short should shown similar since so some somewhere still stored str string stronger strong
    such taken tbd text than that the their them then there these they this those through to todo together token tokens
    too true turn two type undefined under unique unknown unset until unused up updated used user uses valid validated
    value varchar via wait wants was way we weak were what when where whether which while who whole why will with within
    without would wrong yes yet you your file header secretstr any every bearer basic yours mine ours hidden visible
    visibly shared personal temporary permanent urgent important obvious easy hard simple complex critical sensitive
    manual automatic manually automatically written printed taped today tomorrow yesterday soon case-sensitive company-wide one-time read-only
    write-only up-to-date out-of-date non-empty self-service per-user long-lived short-lived single-use
    """
)
"""Words that follow `password is` or `password:` without being one, types of programs among them."""

_GENERIC_NAMES = words_of(
    """
    args arg config conf cfg ctx context data default deps dto entry env environ event fixture form guess hash hashed input
    item key kwargs line match name new node obj old opts options params parsed payload plain plaintext pass passwd
    password pw pwd raw req request res response result row s secret self session settings state str t text this tok token
    tokens user val value values v x y
    """
)
"""What programs assign: `password=value`."""

_ALGORITHM = re.compile(
    r"v\d+[a-z]{0,2}|s3|p12|x509|(?:sha|md|aes|rsa|rs|hs|es|ps|ed|utf|base|oauth|http|tls|ipv|argon|pbkdf|pkcs|iso|rfc|otp)"
    r"-?\d{1,5}(?:-\d{1,4})?(?:-?[a-z]{2,3})?",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"[A-Z]{2,10}-\d+"  # a ticket
    r"|#\d+"
    r"|\d{4}-\d\d(?:-\d\d)?(?:[T ][\d:.+Z-]*)?|\d{1,2}[:.]\d\d(?:[:.]\d\d)?(?:am|pm)?"  # dates, times
    r"|v?\d+(?:\.\d+)+[\w+.-]{0,20}"  # versions, addresses
    r"|\d+(?:\.\d+)?(?:%|[a-z]{1,3}|min|mins|hours?|days?|weeks?|chars?|bits?|bytes?)"  # quantities
    r"|[\w@./-]*\.(?:py|pyi|ts|tsx|js|jsx|mjs|go|rs|java|kt|rb|php|cs|c|h|cpp|sh|sql|md|txt|ya?ml|json|toml|ini|cfg|conf|env|log|csv|html|css|lock|pem|crt|pub|vue|tf|xml)(?::\d+)*"
    r"|(?:https?|file|vault|op|ssm|arn|ref\+\w+|gs|s3|docker|git|ssh|secretsmanager|keyring|env)://?[^@]*|arn:\S+|vault:\S+|env:\S+"
    r"|(?:~|\.{1,2})?/[\w.@+-]+(?:/[\w.@+-]*)*|[A-Za-z]:\\\S*"  # paths
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
)
_REFERENCE = re.compile(
    r"\$?\{[^{}]*\}|\$\(?[A-Za-z_][\w.]*\)?|\{\{.*|<[^<>]*>?|%\(?\w*\)?s?|\[.*|\(.*|[*xX•.…_?-]+|&\w.*|@[\w./-]+|:.*|\|.*|[=>,;].*"
    r"|(?:os\.|process\.|import\.meta\.|Deno\.|System\.|self\.|this\.|settings\.|config\.|cfg\.|args\.|opts\.|env\.|secrets\.|vars\.|var\."
    r"|request\.|req\.|ctx\.|data\.|local\.|module\.|params\.|form\.|body\.|st\.|z\.|t\.|pydantic\.|options\.|ENV\[).*"
    r"|!(?:vault|Ref|Sub|env|secret|ENV)\b.*"
    r"|!?[A-Za-z_][\w.:]*[(\[].*"  # a call, a subscript
    r"|(?:await|new|lambda|function|async|null|None|True|False)\b.*"
)
_IDENTIFIER = re.compile(
    r"_*[a-z]+(?:_[a-z]+)+_*|[A-Z]+(?:_[A-Z]+)+|[a-z]+(?:[A-Z][a-z]+)+|[A-Za-z_]+(?:\.[A-Za-z_]+)+"
)
_TYPE_NAME = re.compile(
    r"(?:[A-Z][a-z]+)+(?:Str|String|Type|Field|Schema|Config|Provider|Service|Input|Props|Hash|Hasher|Encoder|Manager|Error"
    r"|Value|Text|Bytes|Column|Model|Dto|Validator|Param|Policy|Token|Secret|Password|Form|Request|Response|Store|Credentials)"
)
_UNIT = re.compile(
    r"\s+(?:char|digit|letter|attempt|day|week|min|hour|sec|ms|time|entr|word|user|row|bit|byte|fail|pass|of)"
)
_ADJECTIVE = re.compile(r"[a-z]{2,}(?:ed|ing|able|ible|ical|less|ful|ly|ous|ive|ated|ized)")
_SENTENCE = re.compile(
    r"\b(?:must|required?|enter|your|should|cannot|invalid|please|field|is|are|does|the|at least|forgot|incorrect)\b",
    re.IGNORECASE,
)


def random_looking(value: str) -> bool:
    """Whether nobody would write `value` as a word: letters and digits, or letters and marks, mixed."""
    if len(value) < 6 or value.isdigit() or not re.search(r"[A-Za-z]", value):
        return False
    if any(char.isdigit() for char in value):
        return True
    inside = value.strip("._-")
    if re.search(r"[!@#$%^&*+=~?|]", inside):
        return True
    return len(value) >= 20 and re.search(r"[a-z][A-Z]|[A-Z]{2}[a-z]", inside) is not None and "." not in inside


def stands_for_something(value: str) -> bool:
    """Whether the value is a reference, a placeholder, a quantity, a path, the name of a thing."""
    return (
        not value
        or _REFERENCE.fullmatch(value) is not None
        or _NO_SECRET.fullmatch(value) is not None
        or _ALGORITHM.fullmatch(value) is not None
    )


def names_nothing_secret(before: str, tail: str, word: str) -> bool:
    """Whether the full name says that the value is no secret: `password_hash`, `max_tokens`, `PARTITION_KEY`.

    `before` and `tail` are what stands directly before and after the sensitive word in the same name.
    """
    ends = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+", tail)
    if ends and any(end.lower() in _HARMLESS_TAILS for end in ends):
        return True
    if ends and not (ends[0].isdigit() or tail[0] in "_-" or tail[0].isupper()):
        return True  # another word: `tokenizer`, `secretary`
    if word.lower().endswith(("key", "keys")):
        last = re.findall(r"[A-Za-z0-9]+", before)
        return "public" in before.lower() or (bool(last) and last[-1].lower() in _HARMLESS_KEYS)
    return before.lower().endswith(
        ("max_", "min_", "num_", "no_", "has_", "is_", "with_", "reset_", "csrf_", "without_")
    )


def first_word_is_harmless(words: str) -> bool:
    """Whether what follows the sensitive word turns it into another thing: `password reset flow`."""
    found = re.match(r"\s*\(?([A-Za-z]+)", words)
    return found is not None and found[1].lower() in _HARMLESS_TAILS


def is_password(value: str, *, rest: str, quoted: bool, told: bool) -> bool:
    """Whether a value under a password's name is one.

    `rest`: what follows in the line. `told`: said in prose or after a colon, where any word may follow; otherwise
    assigned, where only a value can stand.
    """
    lower = value.lower().strip(".,;:!?")
    if stands_for_something(value) or lower in _HARMLESS_WORDS or lower in _GENERIC_NAMES:
        return False
    if quoted:
        return not (len(value.split()) >= 3 and _SENTENCE.search(value)) and not _IDENTIFIER.fullmatch(value)
    if value.isdigit():
        return len(value) >= 4 and not _UNIT.match(rest)
    if random_looking(value) or any(char.isdigit() for char in value):
        return True
    if _IDENTIFIER.fullmatch(value) or _TYPE_NAME.fullmatch(value):
        return False
    if re.fullmatch(r"[A-Za-z]+(?:-[A-Za-z]+)*", value) is None or value.count("-") >= 2:
        return len(value) >= 4
    if not told:
        return True
    ends = re.match(r"\s*(?:$|[.,;!?)\]}\n|])", rest) is not None
    return ends and len(value) >= 4 and _ADJECTIVE.fullmatch(lower) is None


_FUNCTION_WORDS = words_of(
    """
    the and for but not with that this from into onto over under when then than where which while until since because you
    your our their its was were are has have had can must should will would may might per via use used only
    """
)


def is_phrase(words: str) -> bool:
    """Whether several plain words in a row are a passphrase: no sentence is made of nouns alone."""
    all_words = words.lower().split()
    harmless = sum(word in _HARMLESS_WORDS or word in _GENERIC_NAMES for word in all_words)
    if _FUNCTION_WORDS.intersection(all_words) or _ADJECTIVE.fullmatch(all_words[0]):
        return False
    return harmless == 0 or (harmless == 1 and len(all_words) >= 4)


def is_token(value: str, *, loose: bool, quoted: bool) -> bool:
    """Whether a value under the name of a token, secret or key is one. `loose`: the name alone is proof enough."""
    lower = value.lower()
    if stands_for_something(value) or lower in _HARMLESS_WORDS or lower in _GENERIC_NAMES:
        return False
    if value.isdigit() or len(value) < 3:
        return loose and len(value) >= 6
    if loose:
        return not _IDENTIFIER.fullmatch(value) and not (quoted and len(value.split()) >= 3 and _SENTENCE.search(value))
    return " " not in value and random_looking(value)


_CARD = re.compile(
    r"(?<![\w.+:/-])(?:\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|3\d{3}([ -])\d{6}\2\d{4,5}|[2-6]\d{12,18})(?![\w-]|\.\d)"
)
_ISSUER = re.compile(
    r"4\d{12}(?:\d{3})?(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}|(?:50|5[6-8]|6[0379])\d{10,17}"
)
_CARD_WORD = re.compile(r"\b(?:card|visa|mastercard|amex|kreditkarte|iban-free pan|pan)\b", re.IGNORECASE)


def card_numbers(text: str) -> list[tuple[int, int]]:
    """Where payment-card numbers stand: an issuer's prefix and length, and the check digit of ISO/IEC 7812.

    A number in groups of four beside the word `card` counts without the check digit: a typing error hides nothing.
    """
    found: list[tuple[int, int]] = []
    for match in _CARD.finditer(text):
        digits = re.sub(r"[ -]", "", match[0])
        if not _ISSUER.fullmatch(digits) or len(set(digits)) < 2:
            continue
        grouped = match[0] != digits
        beside = text[max(0, match.start() - 40) : match.start()]
        if _luhn(digits) or (grouped and _CARD_WORD.search(beside)):
            found.append(match.span())
    return found


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0
