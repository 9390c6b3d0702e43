"""Tool results are kept as far as somebody will ask for them; the rest lies behind a reference."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainops.memory.pruner import DEFAULT_PRUNER, FILE_LIMIT, LISTING_LIMIT, Rule, prune, tokens
from brainops.memory.pruner_rules import Call

LISTING = "\n".join(f"src/part{n % 3}/module_{n}.py" for n in range(120)) + "\nREADME.md\nsrc/docs/"
LONG_LISTING = "total 99\n" + "\n".join(f"-rw-r--r-- 1 ada ada {n} Feb 14 07:00 file_{n}.ts" for n in range(60))
FILE = "\n".join(f"{n} some line of code" for n in range(400))
OUTPUT = "\n".join(
    [
        *(f"tests/test_{n}.py::test_works PASSED" for n in range(200)),
        "tests/test_x.py::test_adds FAILED",
        "E       AssertionError: assert 2 == 3",
        *(f"WARNING: slow query took {n} ms" for n in range(50)),
        *(f"teardown {n}" for n in range(100)),
        "==== 1 failed, 200 passed in 3.21s ====",
    ]
)


def test_listing_becomes_its_count_and_shape() -> None:
    pruned = prune("LS", {"path": "/srv/shop"}, LISTING)
    assert pruned.rule == "listing"
    assert "122 entries" in pruned.text
    assert "/srv/shop" in pruned.text
    assert "120 .py, 1 .md, 1 folder" in pruned.text
    assert "121 src/" not in pruned.text  # one folder alone says nothing
    assert "src/part0/module_0.py" in pruned.text
    assert "module_100" not in pruned.text


def test_long_listing_names_files_and_not_owners() -> None:
    pruned = prune("list_files", {}, LONG_LISTING)
    assert "60 entries" in pruned.text
    assert "60 .ts" in pruned.text
    assert "first: file_0.ts, file_1.ts" in pruned.text


def test_file_becomes_its_head_and_tail() -> None:
    pruned = prune("Read", {"file_path": "src/a.py"}, FILE)
    assert pruned.rule == "file"
    assert pruned.text.startswith("0 some line of code\n1 some")
    assert pruned.text.endswith("\n399 some line of code")
    assert "src/a.py" in pruned.text
    assert "\n200 some" not in pruned.text


def test_output_becomes_its_errors_and_last_lines() -> None:
    pruned = prune("Bash", {"command": "pytest -q"}, OUTPUT)
    assert pruned.rule == "command"
    assert pruned.text.startswith("$ pytest -q\n[353 lines")
    assert "201: tests/test_x.py::test_adds FAILED" in pruned.text
    assert "202: E       AssertionError: assert 2 == 3" in pruned.text
    assert "203: WARNING: slow query took 0 ms (50 times)" in pruned.text
    assert pruned.text.endswith("teardown 99\n==== 1 failed, 200 passed in 3.21s ====")
    assert "PASSED" not in pruned.text


def test_summary_is_kept_though_other_lines_follow_it() -> None:
    pruned = prune("run_command", {"command": "make"}, OUTPUT + "\n" + "\n".join(f"cleaning {n}" for n in range(300)))
    assert "summary: ==== 1 failed, 200 passed in 3.21s ====" in pruned.text


def test_search_becomes_its_counts_by_file() -> None:
    hits = "\n".join(f"src/{'ab'[n % 2]}.py:{n}: token = {n}" for n in range(80))
    pruned = prune("Grep", {"pattern": "token"}, hits)
    assert pruned.rule == "search"
    assert "80 lines, 2 files" in pruned.text
    assert "40 src/a.py, 40 src/b.py" in pruned.text
    assert "src/a.py:0: token = 0" in pruned.text


def test_json_becomes_its_shape() -> None:
    text = json.dumps({"items": [{"id": n, "name": "x" * 80} for n in range(90)], "next": None})
    pruned = prune("mcp__shop__list_orders", {}, text)
    assert pruned.rule == "json"
    assert pruned.media_type == "application/json"
    assert "{items: [90 of {id: 0, name: text of 80}], next: null}" in pruned.text


@pytest.mark.parametrize(
    ("tool", "arguments", "rule"),
    [
        ("Glob", {}, "listing"),
        ("list_files", {}, "listing"),
        ("mcp__files__list_directory", {}, "listing"),
        ("Bash", {"command": "ls -la src"}, "listing"),
        ("Bash", {"command": "cd src && find . -name '*.py'"}, "listing"),
        ("Bash", {"command": "ls | xargs pytest"}, "command"),
        ("shell", {"command": ["rg", "token"]}, "search"),
        ("Bash", {"command": "cat a.py"}, "file"),
        ("Bash", {}, "command"),
        ("run_command", {"command": "lsof -i"}, "command"),
        ("search", {}, "search"),
        ("read_file", {}, "file"),
        ("Edit", {}, "file"),
        ("edit_file", {}, "file"),
        ("Write", {}, "file"),
        ("WebFetch", {}, "file"),
        ("Task", {}, "report"),
        ("mcp__github__get_issue", {}, "generic"),
        ("never_heard_of", {}, "generic"),
        ("", {}, "generic"),
    ],
)
def test_rule_follows_from_the_tool(tool: str, arguments: dict[str, str], rule: str) -> None:
    pruned = prune(tool, arguments, "some line of text\n" * 1000)
    assert pruned.rule == rule


@pytest.mark.parametrize(
    ("tool", "limit"), [("LS", LISTING_LIMIT), ("Read", FILE_LIMIT), ("Bash", FILE_LIMIT), ("x", FILE_LIMIT)]
)
def test_what_is_short_stays_whole(tool: str, limit: int) -> None:
    pruned = prune(tool, {}, "x" * limit)
    assert (pruned.text, pruned.original, pruned.rule) == ("x" * limit, None, "whole")
    assert pruned.tokens_before == pruned.tokens_after == limit // 4


def test_own_rule_comes_first() -> None:
    pruner = DEFAULT_PRUNER.with_rule(Rule("tickets", r"mcp__desk__.*", 10, lambda call: f"{len(call.text)} tickets"))
    assert pruner.prune("mcp__desk__list_files", {}, "x" * 600).text == "600 tickets"
    assert prune("mcp__desk__list_files", {}, "x" * 600).rule != "tickets"


@settings(max_examples=50, deadline=None)
@given(
    tool=st.sampled_from(["Read", "Bash", "LS", "Grep", "Task", "other"]),
    unit=st.text(min_size=1, max_size=30),
    times=st.integers(1, 600),
    command=st.text(max_size=20),
)
def test_nothing_is_lost_and_the_rest_is_bounded(tool: str, unit: str, times: int, command: str) -> None:
    text = unit * times
    pruned = prune(tool, {"command": command}, text)
    assert pruned.text == text if pruned.original is None else pruned.original.decode("utf-8", "surrogatepass") == text
    assert pruned.tokens_before == tokens(text)
    assert pruned.tokens_after == tokens(pruned.text) <= pruned.tokens_before
    assert len(pruned.text) <= 8_000


@pytest.mark.parametrize(
    "text", ["", "\n", "{" * 3000, "[" * 5000 + "]" * 5000, '{"a": ' * 900 + "1" + "}" * 900, "\ud800" * 3000]
)
@pytest.mark.parametrize("tool", ["Read", "Bash", "LS", "Grep", "other"])
def test_odd_text_is_pruned_too(tool: str, text: str) -> None:
    pruned = prune(tool, {"command": 7, "path": None}, text)
    assert len(pruned.text) <= max(len(text), 1)


def test_tokens_are_a_quarter_of_the_characters_rounded_up() -> None:
    assert [tokens("x" * n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_command_of_a_call_is_read_from_text_or_list() -> None:
    assert Call("Bash", {"command": "ls"}, "").command == "ls"
    assert Call("shell", {"cmd": ["ls", "-l"]}, "").command == "ls -l"
    assert Call("shell", {"command": {"a": 1}}, "").command == ""
