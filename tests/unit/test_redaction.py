"""Secrets out of text, in time linear in the text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.config.environment import looks_secret, secret_values
from brainops.telemetry.redaction import JSON, clean, printable, redact, redact_value

KEY_BLOCK = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DB_PASSWORD=hunter2 started", "DB_PASSWORD=[redacted] started"),
        ("export GITHUB_TOKEN=abc", "export GITHUB_TOKEN=[redacted]"),
        ("CLIENT_SECRET='a b c' x", "CLIENT_SECRET='[redacted]' x"),
        ("STRIPE_KEY=abc", "STRIPE_KEY=[redacted]"),
        ("password: hunter2", "password: [redacted]"),
        ("Password = hunter2", "Password = [redacted]"),
        ("aws_secret_access_key = wJalr/K7MDENG", "aws_secret_access_key = [redacted]"),
        ('{"password": "a\\"b c", "x": 1}', '{"password": "[redacted]", "x": 1}'),
        ('"{\\"token\\": \\"abc\\", \\"y\\": 1}"', '"{\\"token\\": \\"[redacted]\\", \\"y\\": 1}"'),
        ('password="never closed x', 'password="[redacted]'),
        ("GET /x?token=abc&y=1", "GET /x?token=[redacted]"),
        ("run --password hunter2 --port 1", "run --password [redacted] --port 1"),
        ("run --api-key=abc", "run --api-key=[redacted]"),
        ("Authorization: Basic Zm9vOmJhcg==", "Authorization: [redacted]"),
        ('curl -H "Authorization: Bearer abc.def" http://x', 'curl -H "Authorization: [redacted]" http://x'),
        ("sent bearer abcdef123", "sent bearer [redacted]"),
        ("Set-Cookie: session=abc; Path=/", "Set-Cookie: [redacted]"),
        ("X-Api-Key: abc", "X-Api-Key: [redacted]"),
        ("to postgres://shop:p4ss@db:5432/shop", "to postgres://shop:[redacted]@db:5432/shop"),
        ("to redis://:p@ss@cache", "to redis://:[redacted]@cache"),
        ("id AKIAIOSFODNN7EXAMPLE", "id [redacted]"),
        (f"ghp_{'a1' * 18}", "[redacted]"),
        (f"sk-proj-{'x' * 300}!", "[redacted]!"),
        (f"bok_k1_{'x' * 20}", "[redacted]"),
        ("jwt eyJhbGciOi.eyJzdWIi.c2ln ok", "jwt [redacted] ok"),
        ("the api key 3fa94b1c9e3fa94b1c9e3f", "the api key [redacted]"),
        (f"a\n{KEY_BLOCK}\nb", "a\n[redacted]\nb"),
        ("a\n-----BEGIN PRIVATE KEY-----\nMIIE", "a\n[redacted]"),
        ("MIIEabc\n-----END PRIVATE KEY-----\nb", "[redacted]\nb"),
        ("a <private>my diary</private> b", "a [redacted] b"),
        ("a <PRIVATE>my diary", "a [redacted]"),
    ],
)
def test_secret_is_hidden_and_its_name_stays(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "GET /health 200 in 3 ms",
        "effect_key=1b2c.1.1 tail_key: logs/web",
        "signature crash/process/exited/5f1c2a9b",
        "password authentication failed for user shop",
        "max_tokens=512",
        "task-force disk-abcdefghijklmnopqrstuv",
        "http://127.0.0.1:8080/@me",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "monkey=1 keyboard: us",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_known_values_are_hidden_wherever_they_stand() -> None:
    secrets = secret_values(
        {"DB_PASSWORD": "tiger-tiger", "LONG_TOKEN": "tiger-tiger-burning", "NAME": "burning", "PWD": "x"}
    )
    assert secrets == ("tiger-tiger-burning", "tiger-tiger")
    assert redact("a tiger-tiger-burning b tiger-tiger", secrets) == "a [redacted] b [redacted]"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DB_PASSWORD", True),
        ("apiKey", True),
        ("api-key", True),
        ("SIGNING_KEY", True),
        ("STRIPE_KEY", True),
        ("clientSecret", True),
        ("accessToken", True),
        ("effect_key", False),
        ("sort_key", False),
        ("key", False),
        ("token_count", False),
        ("AWS_ACCESS_KEY_ID", False),
        ("PASSWORD_FILE", False),
        ("", False),
        ("monkey", False),
    ],
)
def test_names_tell_secrets(name: str, expected: bool) -> None:
    assert looks_secret(name) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("bell\x07 back\x08", "bell\\x07 back\\x08"),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("zero\x00width\u200b", "zerowidth"),
        ("evil\u202etxt", "evil\\u202etxt"),
        ("lone \ud800", "lone \\ud800"),
        (b"bytes \xff\xfe", "bytes \\xff\\xfe"),
        (b"\x9b31m", "\\x9b31m"),
        ("grüße 🎉", "grüße 🎉"),
    ],
)
def test_text_cannot_steer_a_terminal(text: str | bytes, expected: str) -> None:
    assert printable(text) == expected


@given(st.text() | st.binary(), st.integers(0, 50))
def test_printable_text_is_bounded_encodable_and_without_controls(text: str | bytes, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    shown.encode()
    assert all(char in "\n\t" or char.isprintable() or ord(char) > 0x9F for char in shown)


@pytest.mark.parametrize(
    "text",
    [
        "pass\x1b[31mword=hunter2",
        "password=\x1b[1mhunter2\x1b[0m",
        "password=hunter2".encode("utf-16-le"),
        "pass\u200bword=hunter2",
        "PASSWORD=" + "hunter2" * 200,
        f"{'x' * 480} password=hunter2",
    ],
)
def test_disguise_does_not_save_a_secret_from_cleaning(text: str | bytes) -> None:
    cleaned = clean(text)
    assert "hunter2" not in cleaned
    assert len(cleaned) <= 500


@given(st.text(alphabet="ab=: \"'\\\n@/-_[]password", max_size=200))
def test_redaction_is_stable(text: str) -> None:
    once = redact(text)
    assert redact(redact(once)) == redact(once)


HOSTILE = [
    "a", "eyJ", "eyJ-", "eyJaaaaaaa.", "password", "password=", 'password="', 'password=\\"', "password_", "://", "://:",
    "://a:b", "<private>", "</private>", "<private></private>", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----", "\x1b[", "\x1b]", "\x1b[0", "\x1bP", "api", "api_key", "--", "--a-", "--password ", "token ",
    "bearer ", "key ", "sk-", "ghp_", "authorization:", "_KEY=", "\x00", "\n", '"\\', "password:\"\\", "x-a-", "\ud800",
]  # fmt: skip


def seconds_to_clean(text: str) -> float:
    start = time.process_time()
    clean(text)
    return time.process_time() - start


@pytest.mark.parametrize("pattern", HOSTILE, ids=ascii)
def test_time_is_linear_in_a_hostile_line(pattern: str) -> None:
    # Takes 0.05 s; a pattern that is quadratic in even a tenth of the characters takes more than one.
    assert seconds_to_clean((pattern * 150_000)[:150_000]) < 0.9


def test_megabyte_of_every_hostile_pattern_is_cleaned_in_seconds() -> None:
    unending = [pattern for pattern in HOSTILE if not redact(pattern).endswith("[redacted]")]
    assert len(unending) > 25
    assert seconds_to_clean("".join((pattern * 30_000)[:30_000] for pattern in unending)) < 6


def test_values_under_names_of_secrets_are_hidden() -> None:
    value = {
        "name": "web",
        "environment": {"DB_PASSWORD": "x", "API_TOKEN": "${API_TOKEN}", "PORT": "80"},
        "secrets": ["a", "b"],
        "token": None,
        "log": ["password=x", b"\xff", 3, True],
        "effect_key": "p.1.1",
    }
    assert redact_value(value) == {
        "name": "web",
        "environment": {"DB_PASSWORD": "[redacted]", "API_TOKEN": "${API_TOKEN}", "PORT": "80"},
        "secrets": "[redacted]",
        "token": None,
        "log": ["password=[redacted]", "\\xff", 3, True],
        "effect_key": "p.1.1",
    }


def test_values_are_bounded_in_depth_and_size() -> None:
    deep: JSON = "end"
    for _ in range(100):
        deep = [deep]
    assert str(redact_value(deep)).count("[") == 12
    wide = redact_value({str(count): count for count in range(5000)})
    assert isinstance(wide, dict)
    assert len(wide) == 1001
    assert len(str(redact_value(list(range(5000))))) < 6000
    assert redact_value(object) == "<class 'object'>"
