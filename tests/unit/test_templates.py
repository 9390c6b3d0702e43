"""The line of a log that names a fault, and its template."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.telemetry.templates import MAX_LINE, error_line, is_error_like, template

PYTHON = """\
INFO starting
Traceback (most recent call last):
  File "/srv/shop/api.py", line 12, in <module>
    config = json.load(file)
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
"""
PYTHON_OWN_CLASS = """\
Traceback (most recent call last):
  File "/srv/shop/api.py", line 12, in <module>
    raise OutOfStock(3)
shop.OutOfStock: nothing left
"""
JAVA = """\
Exception in thread "main" java.lang.RuntimeException: start failed
\tat Main.main(Main.java:5)
Caused by: java.net.BindException: Address already in use
\tat java.base/sun.nio.ch.Net.bind0(Native Method)
\t... 3 more
"""
GO = """\
2026/01/02 03:04:05 serving
panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.main()
\t/src/main.go:8 +0x1d
exit status 2
"""
NODE = """\
node:events:497
      throw er; // Unhandled 'error' event
      ^

Error: listen EADDRINUSE: address already in use :::3000
    at Server.setupListenHandle [as _listen2] (node:net:1817:16)
    at listenInCluster (node:net:1865:12)

Node.js v20.11.0
"""
RUST = """\
thread 'main' panicked at src/main.rs:4:10:
called `Result::unwrap()` on an `Err` value: ParseIntError { kind: InvalidDigit }
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
"""
UVICORN = """\
INFO:     Waiting for application startup.
ERROR:    Traceback (most recent call last):
  File "x.py", line 3, in lifespan
    await connect()
ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 5432)

ERROR:    Application startup failed. Exiting.
"""


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (PYTHON, "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        (PYTHON_OWN_CLASS, "shop.OutOfStock: nothing left"),
        (JAVA, "Caused by: java.net.BindException: Address already in use"),
        (GO, "panic: runtime error: index out of range [5] with length 3"),
        (NODE, "Error: listen EADDRINUSE: address already in use :::3000"),
        (
            RUST,
            (
                "thread 'main' panicked at src/main.rs:4:10: called `Result::unwrap()` on an `Err` value: "
                "ParseIntError { kind: InvalidDigit }"
            ),
        ),
        # the logger's last sentence says less than the exception just above it
        (UVICORN, "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 5432)"),
        ("INFO a\n2026-01-01 ERROR pool is exhausted\nINFO b\n", "2026-01-01 ERROR pool is exhausted"),
        ('{"level":"error","msg":"quota"}\n', '{"level":"error","msg":"quota"}'),
        ("sh: 1: cannot open conf.d: No such file\n", "sh: 1: cannot open conf.d: No such file"),
        # a client that left follows from a slow service
        ("ERROR disk\nBrokenPipeError: [Errno 32] Broken pipe\n", "ERROR disk"),
        ("GET /errors 200\nall fine, 0 errors\n", ""),
        ("", ""),
    ],
)
def test_error_line_is_the_one_that_names_the_cause(log: str, line: str) -> None:
    assert error_line(log) == line


def test_last_words_count_only_once_the_process_has_exited() -> None:
    log = "listening\nbye\n\n"
    assert error_line(log) == ""
    assert error_line(log, exited=True) == "bye"
    assert not is_error_like("bye")


def test_old_errors_are_out_of_reach() -> None:
    log = "ERROR long ago\n" + "GET / 200\n" * 50
    assert error_line(log) == "ERROR long ago"
    assert error_line(log, reach=20) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("listen on 127.0.0.1:8080 failed", "listen on 10.0.0.7:9 failed"),
        ("2026-01-02T03:04:05.678Z ERROR x", "2027-11-12T13:14:15Z ERROR x"),
        ("Nov 21 11:04:53 host api[312]: ERROR x", "Dec 1 01:00:01 host api[7]: ERROR x"),
        ("no such file: /etc/shop/api.json", "no such file: ./data/b.yaml"),
        ("job 3b8dbfc4-f2cc-4ae3-af19-5a3023def51e failed", "job 0552381f-0d43-47fe-8cd9-88abfd884e76 failed"),
        ("worker-3 took 12ms", "worker-14 took 1.5s"),
        ("KeyError: 'port'", "KeyError: 'host'"),
        ("cannot reach http://127.0.0.1:81/a?b=1", "cannot reach https://store/x"),
        ("at 0x7f3a9c00 in frame", "at 0xdeadbeef0 in frame"),
        ("offset -5", "offset 12"),
    ],
)
def test_lines_that_differ_in_values_share_a_template(one: str, other: str) -> None:
    assert template(one) == template(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("KeyError: 'port'", "ValueError: 'port'"),
        ("Address already in use", "Connection refused"),
    ],
)
def test_different_errors_have_different_templates(one: str, other: str) -> None:
    assert template(one) != template(other)


@given(st.text(max_size=400))
def test_template_is_idempotent_and_bounded(line: str) -> None:
    once = template(line)
    assert template(once) == once
    assert len(once) <= MAX_LINE


_PIECES = st.lists(st.sampled_from(list("ab'\"<>/.-+: n1 29,`")), max_size=60).map("".join)


@given(_PIECES)
def test_template_is_idempotent_on_hostile_punctuation(line: str) -> None:
    once = template(line)
    assert template(once) == once


@given(
    prefix=st.text(alphabet="abcdefghijklmnop =:([", max_size=20),
    one=st.integers(0, 10**12),
    other=st.integers(0, 10**12),
    suffix=st.text(alphabet=" abcms%)],", max_size=20),
)
def test_numbers_never_matter(prefix: str, one: int, other: int, suffix: str) -> None:
    assert template(f"{prefix}{one}{suffix}") == template(f"{prefix}{other}{suffix}")


@pytest.mark.parametrize(
    "piece", ["a", ".", "-", "/", "'", '"', "1", "a1", "Error", "a-", "<n>", " ", "x.y", "\t", "\n", "a\n b\n"]
)
def test_a_megabyte_of_anything_takes_less_than_a_second(piece: str) -> None:
    hostile = piece * (1_000_000 // len(piece))
    began = time.perf_counter()
    template(error_line(hostile, exited=True))
    template(hostile)
    assert time.perf_counter() - began < 1
