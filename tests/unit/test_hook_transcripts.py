"""What is read from a coding agent: its transcript's end, and what its tools gave back."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.memory.own_words import CLOSE_TAG, OPEN_TAG, without_own_words, wrapped
from brainops.memory.validation import MAX_MESSAGE_TEXT
from interfaces.hooks import transcript_tail
from interfaces.hooks.fitting import LONGEST_ARGUMENT, fitting_arguments, fitting_text, storable
from interfaces.hooks.tool_results import is_failure, result_text
from interfaces.hooks.transcript_tail import read_tail, readable_transcript


def line(number: int, text: str, **further: object) -> str:
    entry = {
        "type": "assistant",
        "uuid": f"u{number}",
        "timestamp": f"2026-01-01T00:00:{number:02}Z",
        "message": {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "…"}, {"type": "text", "text": text}],
        },
    }
    return json.dumps(entry | further) + "\n"


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    path = tmp_path / "t.jsonl"
    path.write_text('{"type":"user","message":{"role":"user","content":"hi"}}\n' + line(1, "one") + line(2, "two"))
    return path


def test_only_what_the_assistant_said_is_read_and_only_once(transcript: Path) -> None:
    tail = read_tail(transcript, 0)
    assert [one.text for one in tail.said] == ["one", "two"]
    assert tail.position == transcript.stat().st_size
    with transcript.open("a") as file:
        file.write(line(3, "aside", isSidechain=True) + line(4, "three"))
    after = read_tail(transcript, tail.position)
    assert [one.text for one in after.said] == ["three"]
    assert after.said[0].at is not None
    assert read_tail(transcript, after.position).said == ()


def test_a_line_that_is_still_written_waits(transcript: Path) -> None:
    whole = line(3, "three")
    position = read_tail(transcript, 0).position
    with transcript.open("a") as file:
        file.write(whole[:40])
    assert read_tail(transcript, position) == transcript_tail.Tail((), position)
    with transcript.open("a") as file:
        file.write(whole[40:])
    assert [one.text for one in read_tail(transcript, position).said] == ["three"]


def test_what_was_said_later_waits_for_its_time(transcript: Path) -> None:
    early = read_tail(transcript, 0, datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert [one.text for one in early.said] == ["one"]
    assert [one.text for one in read_tail(transcript, early.position).said] == ["two"]


def test_a_file_that_became_shorter_is_read_from_its_start(transcript: Path) -> None:
    assert len(read_tail(transcript, 10**9).said) == 2


def test_of_a_long_stretch_the_end_is_read(transcript: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_tail, "MOST_BYTES", len(line(2, "two")) + 5)
    tail = read_tail(transcript, 0)
    assert [one.text for one in tail.said] == ["two"]
    assert tail.position == transcript.stat().st_size


def test_lines_that_are_none_are_passed_over(transcript: Path) -> None:
    with transcript.open("ab") as file:
        file.write(b"\xff\xfe\n[]\n{\n\n" + b"[" * 5000 + b"\n" + line(9, "nine").encode())
    assert [one.text for one in read_tail(transcript, 0).said] == ["one", "two", "nine"]


def test_only_transcripts_below_the_home_are_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    inside, outside, other = home / "a.jsonl", tmp_path / "b.jsonl", home / "key.pem"
    for path in (inside, outside, other):
        path.write_text("{}\n")
    (home / "link.jsonl").symlink_to(outside)
    assert readable_transcript(str(inside), home) == inside
    for path in (outside, other, home / "link.jsonl", home / "gone.jsonl", home / ".." / "b.jsonl", "/proc/self/mem"):
        assert readable_transcript(str(path), home) is None
    assert readable_transcript("a\x00.jsonl", home) is None


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ("plain", "plain"),
        (None, ""),
        ({"stdout": "out\n", "stderr": "bad\n", "interrupted": False}, "out\nbad"),
        ({"type": "text", "file": {"filePath": "/a", "content": "x = 1\n"}}, "x = 1\n"),
        (
            {"filePath": "/a", "originalFile": "long", "structuredPatch": [{"oldStart": 1, "lines": ["-x", "+y"]}]},
            "/a\n-x\n+y",
        ),
        ({"filenames": ["/a", "/b"], "numFiles": 2}, "/a\n/b"),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "one\n\ntwo"),
        ({"content": [{"type": "text", "text": "done"}]}, "done"),
        ({"numFiles": 12, "originalFile": "no"}, '{"numFiles": 12}'),
        ({"stdout": "", "stderr": "", "interrupted": False}, ""),
        ([1, 2], "[1, 2]"),
    ],
)
def test_each_tool_says_it_in_its_way(response: object, text: str) -> None:
    assert result_text(response) == text  # pyright: ignore[reportArgumentType] - JSON of many shapes


def test_what_is_too_large_is_cut_and_says_so() -> None:
    long = "ä" * MAX_MESSAGE_TEXT
    kept = fitting_text(long)
    assert len(kept.encode()) <= MAX_MESSAGE_TEXT
    assert kept.endswith(f"[cut here: {len(long)} characters in all]")
    written = fitting_arguments({"file_path": "/a", "content": long})
    assert written["file_path"] == "/a"
    assert len(str(written["content"])) < 2 * LONGEST_ARGUMENT
    many = fitting_arguments([f"{number}" * 10 for number in range(50_000)])
    assert str(many["input"]).startswith('{"input": ["0000000000", "1111111111"')
    assert fitting_arguments("x") == {"input": "x"}


def test_what_no_database_takes_is_replaced() -> None:
    assert storable({"a\x00": ["\ud800", float("nan"), 1.5, None]}) == {"a\ufffd": ["\ufffd", "nan", 1.5, None]}


def test_a_tool_says_when_it_failed() -> None:
    assert is_failure({"stdout": "", "interrupted": True})
    assert is_failure({"isError": True})
    assert not is_failure({"stdout": "error: none"})
    assert not is_failure("error")


def test_memory_knows_its_own_words() -> None:
    own = wrapped("- the port is 8080")
    assert without_own_words(own) == ""
    assert without_own_words(f"before\n{own}\nafter") == "before\n\nafter"
    assert without_own_words(f"said:\n{own[:20]}") == "said:"
    spoken = f"what does {OPEN_TAG} mean?"
    assert without_own_words(spoken) == spoken


@given(st.text(), st.text(), st.lists(st.sampled_from([OPEN_TAG, CLOSE_TAG, "x", "\n"])))
def test_nothing_of_a_wrapped_text_comes_back(before: str, inner: str, odd: list[str]) -> None:
    before = before.replace(OPEN_TAG, "")
    passage = wrapped(inner + "".join(odd))
    assert passage.count(OPEN_TAG) == passage.count(CLOSE_TAG) == 1
    assert without_own_words(before + passage) == before.strip()
