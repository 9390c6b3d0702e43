"""Knowledge as JSON lines: read whole or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.contracts.incident import FaultKind, Signature
from brainops.memory.exchange import MAX_LINES, MOST_TRIALS, Line, read_lines
from brainops.memory.knowledge import ToldKnowledge

REMEDIES = ("restart", "run_command", "free_port")
GOOD = '{"version": 1, "signature": "crash/process/exited/5f1c2a9b", "remedy": "restart", "solution": "start anew"}'


def test_a_line_needs_little() -> None:
    entries, mistakes = read_lines(f"{GOOD}\n\n", "k.jsonl", REMEDIES)
    assert mistakes == []
    assert [(one.signature.key, one.remedy, one.successes) for one in entries] == [
        ("crash/process/exited/5f1c2a9b", "restart", 1)
    ]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("not json", "k.jsonl:2:1: Invalid JSON"),
        ("[]", "k.jsonl:2:1"),
        (GOOD.replace('"version": 1', '"version": 2'), "version"),
        (GOOD.replace("exited", "EXITED"), "signature"),
        (GOOD.replace("crash/", "crush/"), "there is no kind of fault 'crush'"),
        (GOOD.replace('"restart"', '"restrat"'), "did you mean restart?"),
        (GOOD.replace('"restart"', '"brew_coffee"'), "install the package that brings it"),
        (GOOD.replace('"solution"', '"colour": 1, "solution"'), "colour"),
        (GOOD.replace('"solution"', '"successes": -1, "solution"'), "successes"),
        (GOOD.replace('"start anew"', f'"{"x" * 501}"'), "solution"),
        (GOOD, "is on line 1 as well"),
    ],
)
def test_one_wrong_line_spoils_the_file_and_is_named(line: str, sentence: str) -> None:
    entries, mistakes = read_lines(f"{GOOD}\n{line}\n", "k.jsonl", REMEDIES)
    assert entries == []
    assert sentence in str(mistakes[0])
    assert {mistake.line for mistake in mistakes} == {2}


def test_the_number_of_lines_is_bounded() -> None:
    entries, mistakes = read_lines(f"{GOOD}\n" * (MAX_LINES + 1), "k.jsonl", REMEDIES)
    assert entries == []
    assert f"more than {MAX_LINES} lines" in str(mistakes[0])


def test_counts_from_elsewhere_are_worth_a_few_trials() -> None:
    line = GOOD.replace('"solution"', '"successes": 400, "failures": 100, "solution"')
    ((told,), _) = read_lines(line, "k.jsonl", REMEDIES)
    assert (told.successes, told.failures) == (4, 1)


def test_secrets_and_control_characters_do_not_travel() -> None:
    line = GOOD.replace('"solution"', '"template": "password=hunter2hunter2 \\u001b[31m", "solution"')
    ((told,), _) = read_lines(line, "k.jsonl", REMEDIES)
    assert "hunter2" not in told.signature.template
    assert "\x1b" not in told.signature.template


WORDS = st.text(st.characters(categories=["L", "N", "Zs"]), max_size=60)


@given(WORDS, WORDS, st.integers(0, MOST_TRIALS))
def test_what_is_written_is_read_again(template: str, solution: str, successes: int) -> None:
    signature = Signature(key="hang/http/timeout/0a1b", kind=FaultKind.HANG, description="d", template=template)
    told = ToldKnowledge(signature=signature, remedy="restart", solution=solution or "s", successes=successes)
    (again,), mistakes = read_lines(Line.of(told).model_dump_json(), "k.jsonl", REMEDIES)
    assert mistakes == []
    assert again == told.model_copy(update={"signature": again.signature})
    assert again.signature.key == signature.key


@given(st.text(max_size=500))
def test_any_text_is_read_without_a_traceback(text: str) -> None:
    entries, mistakes = read_lines(text, "k.jsonl", REMEDIES)
    assert not (entries and mistakes)
