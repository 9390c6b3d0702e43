"""What enters memory holds no secret, and what stands beside one stays."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainops.errors import BadInputError
from brainops.memory.redaction import redact, redact_json

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\n-----END RSA PRIVATE KEY-----"
HEX32 = "3fa94b1c9e3fa94b1c9e3fa94b1c9e3f"

SECRETS = [
    # (text, what must be gone, what must stay, kind)
    ("DB_PASSWORD=hunter2 started on 5432", "hunter2", "started on 5432", "password"),
    ("export GITHUB_TOKEN=abcdef", "abcdef", "export GITHUB_TOKEN=", "token"),
    ("SMTP_PASS=mailme user=bot", "mailme", "user=bot", "password"),
    ("APP_SECRET=s3cr3t-9 debug=1", "s3cr3t-9", "debug=1", "secret"),
    ("STRIPE_KEY=abcdefgh", "abcdefgh", "STRIPE_KEY=", "key"),
    ("CLIENT_SECRET='a b c' next", "a b c", "next", "secret"),
    ("PGPASSWORD=zebra psql -h db1", "zebra", "psql -h db1", "password"),
    ("password: hunter2", "hunter2", "password:", "password"),
    ("password: swordfish", "swordfish", "password:", "password"),
    ("**Password:** hunter2, port 22", "hunter2", "port 22", "password"),
    ("Passwort: Sonne77", "Sonne77", "Passwort", "password"),
    ("| password | hunter2! |\npassword = hunter2!", "= hunter2!", "password", "password"),
    ("`DB_PASSWORD=hunter2` is set in staging", "hunter2", "` is set in staging", "password"),
    ('{"password": "a\\"b c", "x": 1}', "b c", '"x": 1', "password"),
    ('"{\\"api_key\\": \\"abc123de\\", \\"y\\": 1}"', "abc123de", '\\"y\\": 1', "key"),
    ('api_key = "3fa94b1c9e"', "3fa94b1c9e", "api_key", "key"),
    ("const token = 'q8Zr2LmX01';", "q8Zr2LmX01", "';", "token"),
    ("GET /x?token=abc&y=1", "abc", "&y=1", "token"),
    ("https://files.example.com/a?X-Amz-Signature=9f86d081884c7d65&n=1", "9f86d081884c7d65", "&n=1", "token"),
    ("run --password hunter2 --port 1", "hunter2", "--port 1", "password"),
    ("run --api-key=abc1", "abc1", "run --api-key=", "key"),
    ("curl -u admin:hunter2 http://box/health", "hunter2", "http://box/health", "password"),
    ("mysql -uroot -phunter2 shop", "hunter2", "shop", "password"),
    ("Authorization: Basic Zm9vOmJhcg==", "Zm9vOmJhcg", "Authorization: Basic", "token"),
    ('curl -H "Authorization: Bearer abc.def1" http://x', "abc.def1", '" http://x', "token"),
    ("sent bearer abcdef123 to it", "abcdef123", "to it", "token"),
    ("Set-Cookie: session=abc123; Path=/", "abc123", "; Path=/", "token"),
    ("X-Api-Key: abc12345", "abc12345", "X-Api-Key", "token"),
    ("to postgres://shop:p4ss@db:5432/shop", "p4ss", "@db:5432/shop", "password"),
    ("redis://:letmein@cache:6379", "letmein", "@cache:6379", "password"),
    ("log in as deploy:tr0ub4dor@build.example.com", "tr0ub4dor", "@build.example.com", "password"),
    ("id AKIAIOSFODNN7EXAMPLE in eu-west-1", "AKIAIOSFODNN7EXAMPLE", "in eu-west-1", "key"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI", "aws_secret", "key"),
    (f"push with ghp_{'a1' * 18} failed", "ghp_", "failed", "token"),
    ("sk-test-51Example9 was pasted", "51Example9", "was pasted", "key"),
    (f"sk-proj-{'x1' * 30}!", "x1x1", "!", "key"),
    ("sk_live_abc123DEF456 charged twice", "abc123DEF456", "charged twice", "token"),
    ("xoxb-1234-5678-abcdefgh posts", "abcdefgh", "posts", "token"),
    ("jwt eyJhbGciOi.eyJzdWIi.c2ln1 ok", "eyJ", "ok", "token"),
    ("glpat-abcdefghij1234567890 for ci", "abcdefghij", "for ci", "token"),
    (f"key block:\n{KEY}\nport is 22", "MIIEabc", "port is 22", "private key"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEabcd\nThe host is db1", "MIIEabcd", "The host is db1", "private key"),
    ("MIIEabcMIIEabcMIIEabc\n-----END PRIVATE KEY-----\nthen", "MIIEabc", "then", "private key"),
    ("a <private>my\ndiary</private> b", "diary", " b", "private"),
    ("a <PRIVATE>never closed\nmy diary", "diary", "a ", "private"),
    ("card 4111 1111 1111 1111 exp 12/27", "4111 1111", "exp 12/27", "card number"),
    ("4111-1111-1111-1111 was charged", "1111-1111", "was charged", "card number"),
    ("paid by 378282246310005 on Monday", "378282246310005", "on Monday", "card number"),
    ("visa 4111 1111 1111 1112 (typo)", "1111 1112", "(typo)", "card number"),
    ("the password is hunter2, the port is 22", "hunter2", "the port is 22", "password"),
    ("the admin password for the staging box is Tr4ckMe!x now", "Tr4ckMe", "now", "password"),
    ("the password is swordfish.", "swordfish", "the password is", "password"),
    ('the password is "correct horse" and expires', "correct horse", "and expires", "password"),
    ("the passphrase is correct horse battery staple, backup runs at 02:00", "battery", "backup runs at 02:00", "password"),
    ("wifi key: tomatoes9917 (ground floor)", "tomatoes9917", "(ground floor)", "password"),
    ("wifi password in the shed: blue-heron-lake", "heron", "wifi password in the shed", "password"),
    ("WLAN key = Gr8neighbours", "Gr8neighbours", "WLAN key", "password"),
    ("backup passphrase: Example-Phrase-tulip", "tulip", "backup passphrase", "password"),
    ("user admin password hunter2x on web1", "hunter2x", "on web1", "password"),
    ("use Gr8neighbours1 as the admin password", "Gr8neighbours1", "as the admin password", "password"),
    ("login: admin / hunter2!", "hunter2", "login: admin", "password"),
    ("the db password changed to N3wPass today", "N3wPass", "today", "password"),
    ("CREATE USER ada IDENTIFIED BY 'opensesame' ACCOUNT LOCK", "opensesame", "' ACCOUNT LOCK", "password"),
    ("ssid guest, key: bluewhale88, 5 GHz", "bluewhale88", "5 GHz", "password"),
    ("echo 'opensesame' | sudo -S ls", "opensesame", "sudo -S ls", "password"),
    ("the door pin is 4821.", "4821", "the door pin is", "password"),
    ('#define WIFI_PASSWORD "blue-heron-17" // shed', "blue-heron-17", "// shed", "password"),
    (f"the api key is {HEX32}, rate limit 60/min", HEX32, "rate limit 60/min", "key"),
    ("PIN: 4821 at the door", "4821", "at the door", "password"),
    ("webhook https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/abcdEFGH1234", "abcdEFGH1234", "webhook", "token"),
    (f"bot 123456789:{'Ab3_x' * 7} answers", "Ab3_xAb3_x", "answers", "token"),
    (f"mail {HEX32}-us12 sends", HEX32, "sends", "token"),
    (f"sid AC{HEX32} rings", HEX32, "rings", "token"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "secret", "kept", "kind"), SECRETS, ids=[row[0][:40] for row in SECRETS])
def test_secret_is_hidden_and_what_stands_beside_it_stays(text: str, secret: str, kept: str, kind: str) -> None:
    found = redact(text)
    assert secret not in found.text
    assert kept in found.text
    assert f"[redacted: {kind}]" in found.text
    assert found.kinds[kind] >= 1
    assert found.count == sum(found.kinds.values())
    assert redact(found.text).text == found.text


INNOCENT = [
    "commit 9c68f91 and 23fe8b6a1d0c9e8f7a6b5c4d3e2f1a0b9c8d7e6f on main",
    "id 550e8400-e29b-41d4-a716-446655440000",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    '"integrity": "sha512-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08Zz=="',
    "version 1.24.3-rc2, then v2.0.0",
    "src/auth/password_reset.py and tests/test_token_store.ts",
    "order 4500012345678901 shipped",
    "order number 1234567812345678 is open",
    "listen on 8443, metrics on 9090",
    "call +49 170 1234567 or (555) 010-9999",
    "at 1731955200000 and 2026-11-21T17:20:27.123456Z",
    "trace 4bf92f3577b34da6a3ce929d0e0e4736",
    "password: required",
    "password: string;",
    "password: Optional[str] = None",
    "password: SecretStr",
    "password_reset: v2 flow is live",
    "password_hash = bcrypt(raw)",
    "token = get_token()",
    "token = await client.token()",
    "token: str",
    "const token = req.headers.authorization",
    "password = os.environ['DB_PASSWORD']",
    "password=settings.password, token=self.token",
    "DB_PASSWORD=${DB_PASSWORD}",
    "DB_PASSWORD=<your password>",
    "API_TOKEN=$TOKEN ./run.sh",
    "PASSWORD_FILE=/run/secrets/db",
    "DB_PASSWORD=/run/secrets/db_password",
    "max_tokens=512 tokens: 1200",
    "token_count: 12345678",
    "the password is stored in the vault",
    "the password is wrong.",
    "the password is required for admins",
    "the password is now rotated, ask Mira",
    "the password for the box is in the vault",
    "password authentication failed for user shop",
    "the password reset flow: v2 done, PR-1234 merged",
    "the token is expired, the token is refreshed every 15m",
    "the secret is mounted at /run/secrets",
    "passwords must have 12 characters",
    "password length 12 to 64",
    "password hashing is argon2id",
    "secret: my-app-secret",
    "secretName: tls-wildcard",
    "api key: ask Mira",
    "api keys are rotated on the 1st",
    "PARTITION_KEY=user_id SORT_KEY=created_at",
    "SSH_PUBLIC_KEY=ssh-ed25519",
    "effect_key=1b2c.1.1 tail_key: logs/web",
    "primary key: id, foreign key: order_id",
    "press any key to go on",
    "monkey=1 keyboard: us",
    "34 passed, 2 failed; pass: 34",
    "PWD=/home/mira/shop",
    "tokenizer: bpe, secretary: Ada",
    "http://127.0.0.1:8080/@me",
    "git@github.com:acme/shop.git",
    "user@example.com: please call back",
    "Authorization: only admins may delete",
    "bearer tokens are checked first",
    "Cookie: we set SameSite",
    "if password == confirmation:",
    'raise ValueError("password must not be empty")',
    '<input type="password" name="password">',
    "login: admin / readonly",
    "the network is 10.0.3.0/24, wifi is down",
    "pin numpy to 2.4.6",
    "postgresql://USER:PASSWORD@HOST:5432/DATABASE",
    'WWW-Authenticate: Bearer realm="shop"',
    '"password_encryption": "scram-sha-256"',
    "password: !vault |",
    "basket-key-value-store-with-many-words",
    "ssh -p 2222 mira@build.example.com",
    "sk-learn-contrib-and-other-names",
    "image: registry.example.com/shop:1.4@sha256:9f86d081884c7d659a2feaa0c55ad015",
]  # fmt: skip


@pytest.mark.parametrize("text", INNOCENT, ids=[text[:40] for text in INNOCENT])
def test_what_is_no_secret_stays(text: str) -> None:
    found = redact(text)
    assert found.text == text
    assert found.count == 0


def test_what_was_hidden_is_counted_by_kind() -> None:
    found = redact("DB_PASSWORD=hunter2\npassword: hunter3\n4111 1111 1111 1111\n<private>x</private>")
    assert dict(found.kinds) == {"password": 2, "card number": 1, "private": 1}
    assert found.count == 4


def test_values_under_names_of_secrets_are_hidden_in_json() -> None:
    found = redact_json(
        {
            "env": {"DB_PASSWORD": "swordfish", "API_TOKEN": "${API_TOKEN}", "PORT": "80", "token_count": 3},
            "card": 4111111111111111,
            "log": ["password=hunter2", 3, True, None],
            "password": None,
            "note": "the password is hunter2, the port is 22",
        }
    )
    assert found.value == {
        "env": {"DB_PASSWORD": "[redacted: password]", "API_TOKEN": "${API_TOKEN}", "PORT": "80", "token_count": 3},
        "card": "[redacted: card number]",
        "log": ["password=[redacted: password]", 3, True, None],
        "password": None,
        "note": "the password is [redacted: password], the port is 22",
    }
    assert dict(found.kinds) == {"password": 3, "card number": 1}
    assert redact_json(found.value).count == 0


def test_json_that_is_too_deep_is_refused() -> None:
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(BadInputError, match="100 levels"):
        redact_json(deep)  # pyright: ignore[reportArgumentType]


PIECES = [
    "password", "token", "secret", "is", "=", ":", " ", "\n", '"', "'", "`", "hunter2", "Abc123xyz", "/", "@", "://", "_KEY", "DB_",
    "[redacted: password]", "[redacted", "]", "<private>", "</private>", "4111111111111111", "sk-test-abc1", "for the", "bearer ",
    "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", ".", ",", "eyJabcdef.x", "\\", "wifi key", "--", "&", "İ",
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_redaction_is_idempotent(text: str) -> None:
    once = redact(text)
    again = redact(once.text)
    assert again.text == once.text
    assert again.count == 0


@settings(max_examples=60, deadline=None)
@given(
    before=st.text(alphabet="abc xyz.\n", max_size=40),
    after=st.text(alphabet="abc xyz.\n", max_size=40),
    secret=st.text(alphabet="abcdefghijkmnopqrstuvwxyzABCDEFGH0123456789", min_size=9, max_size=40).map("q7".__add__),
    form=st.sampled_from(
        ["DB_PASSWORD={}", "password: {}", 'token = "{}"', "the password is {}", "x://u:{}@h/p", "Bearer {}"]
    ),
)
def test_random_secret_is_hidden_in_every_form(before: str, after: str, secret: str, form: str) -> None:
    found = redact(f"{before}\n{form.format(secret)}\n{after}")
    assert secret not in found.text
    assert found.text.startswith(f"{before}\n")
    assert found.text.endswith(f"\n{after}")


HOSTILE = [
    "password", 'password="', "password for ", "://a:b", "a:b@", "<private>", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----",
    "eyJa.", "sk-", "bearer ", "x-a-", "_KEY=", "wifi key ", "creds a/", "curl -u ", "4111 ", "hooks.slack.com/services/", "1234567890:",
]  # fmt: skip


@pytest.mark.parametrize("pattern", HOSTILE, ids=ascii)
def test_time_is_linear_in_a_hostile_text(pattern: str) -> None:
    def seconds(length: int) -> float:
        text = (pattern * length)[:length]
        start = time.process_time()
        redact(text)
        return time.process_time() - start

    # a pattern that is quadratic takes sixteen times as long, a linear one four times
    short = max(min(seconds(3_000) for _ in range(2)), 0.002)
    assert min(seconds(12_000) for _ in range(2)) < 10 * short
