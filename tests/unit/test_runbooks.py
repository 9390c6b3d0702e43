"""Runbooks: which faults they are for, what is wrong in one, and that changes are seen."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from brainops.config.models import DeclaredCommand, ProcessRun, Remedies, Service
from brainops.contracts.agent import ActionClass
from brainops.contracts.check import CheckKind, ProbeResult, Reason
from brainops.contracts.incident import Candidate, Evidence, FaultKind, Signature
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.errors import BadInputError, NotFoundError
from brainops.incidents.holding import held
from brainops.memory.runbooks import (
    MAX_BYTES,
    MAX_COUNT,
    Runbook,
    RunbookFolder,
    find_runbook_mistakes,
    parse_runbook,
)
from brainops.remedies.preferred import preferred
from brainops.remedies.registry import remedy_names
from interfaces.cli.main import app

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
FULL = Signature(key="crash/process/exited/5f1c", kind=FaultKind.CRASH, description="", template="no space left <n>")


def runbook(front: str, name: str = "x.md") -> Runbook:
    made, mistakes = parse_runbook(f"---\n{front}\n---\ntext\n", name, remedy_names())
    assert made is not None, mistakes
    return made


def test_the_example_is_read_and_is_for_a_full_disk() -> None:
    assert find_runbook_mistakes(EXAMPLES, Path("runbooks"), remedy_names()) == []
    (example,) = RunbookFolder(EXAMPLES, Path("runbooks")).read()
    assert example.path == "runbooks/full-disk.md"
    assert example.is_for("api", FULL, "OSError: [Errno 28] No space left on device")
    assert not example.is_for("store", FULL, "OSError: [Errno 28] No space left on device")
    assert not example.is_for("api", FULL.model_copy(update={"template": ""}), "KeyError: 'port'")


@pytest.mark.parametrize(
    ("when", "meant"),
    [
        ("{}", True),  # any fault
        ("{kind: crash}", True),
        ("{kind: hang}", False),
        ("{kind: 'cr*', check: proc*, reason: '?xited'}", True),
        ("{check: http}", False),
        ("{pattern: 'space left'}", True),  # in the template
        ("{pattern: '^OSError'}", True),  # in the line as it was logged
        ("{pattern: 'memory'}", False),
        ("{kind: hang}, {kind: crash}", True),  # any of them
    ],
)
def test_a_fault_is_meant_by_kind_check_reason_and_line(when: str, meant: bool) -> None:
    assert runbook(f"title: x\nwhen: [{when}]").is_for("api", FULL, "OSError: no space") is meant


def test_a_crash_loop_is_meant_by_either_word() -> None:
    loop = FULL.model_copy(update={"kind": FaultKind.CRASH_LOOP})
    assert all(
        runbook(f"title: x\nwhen: [{{kind: {kind}}}]").is_for("api", loop, "") for kind in ("crash", "crash_loop")
    )


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("# just a text\n", 1, "has no front matter — begin with a line ---"),
        ("---\ntitle: x\n", 1, "its front matter does not end"),
        ("---\ntitle: x\nwhen: [\n---\n", 4, "expected the node content"),
        ("---\ntitle: x\n---\n", 2, "is missing — add it"),
        ("---\ntitle: x\nwhen: []\n---\n", 3, "when: Tuple should have at least 1 item"),
        ("---\ntitle: x\nwhen:\n  - kind: crash\n    patern: a\n---\n", 5, "did you mean pattern?"),
        ("---\ntitle: x\nwhem: []\nwhen: [{}]\n---\n", 3, "did you mean when?"),
        ("---\ntitle: x\nwhen:\n  - {}\n  - pattern: '(?=a)'\n---\n", 5, "is no regular expression of RE2"),
        ("---\ntitle: x\nwhen:\n  - pattern: '(a+'\n---\n", 4, "is no regular expression of RE2"),
        ("---\ntitle: x\nwhen: [{}]\nactions:\n  - restart\n  - restrat\n---\n", 6, "did you mean restart?"),
        ("---\ntitle: x\nwhen: [{}]\nverification: {hold: 2h}\n---\n", 4, "verification.hold"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_a_remedy(text: str, line: int, sentence: str) -> None:
    made, mistakes = parse_runbook(text, "runbooks/x.md", remedy_names())
    assert made is None
    assert sentence in str(mistakes[0])
    assert str(mistakes[0]).startswith(f"runbooks/x.md:{line}:")


def test_a_pattern_that_would_backtrack_for_ever_does_not() -> None:
    hostile = runbook("title: x\nwhen: [{pattern: '(a+)+$'}]")
    assert not hostile.is_for("api", FULL, "a" * 50_000 + "!")


def test_changes_are_seen_at_the_next_look_and_a_wrong_one_is_left_out(tmp_path: Path) -> None:
    folder = RunbookFolder(tmp_path, Path())
    path = tmp_path / "a.md"
    path.write_text("---\ntitle: first\nwhen: [{}]\n---\n")
    (tmp_path / "README.md").write_text("# What stands here\n")
    assert [known.front.title for known in folder.read()] == ["first"]
    path.write_text("---\ntitle: other\nwhen: [{}]\n---\n")
    os.utime(path, ns=(1, 1))
    assert [known.front.title for known in folder.read()] == ["other"]
    path.write_text("no front matter any more\n")
    assert folder.read() == []
    path.unlink()
    assert folder.read() == []


def test_size_and_number_are_bounded(tmp_path: Path) -> None:
    for number in range(MAX_COUNT + 1):
        (tmp_path / f"{number:03}.md").write_text("---\ntitle: x\nwhen: [{}]\n---\n")
    (tmp_path / "000.md").write_bytes(b"x" * (MAX_BYTES + 1))
    told = [str(mistake) for mistake in find_runbook_mistakes(tmp_path, Path(), remedy_names())]
    assert any("larger than 64 KiB" in line for line in told)
    assert any(f"the first {MAX_COUNT} are read" in line for line in told)
    assert len(RunbookFolder(tmp_path, Path()).read()) == MAX_COUNT - 1


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="correct runbooks in"):
        find_runbook_mistakes(tmp_path, Path("nowhere"), remedy_names())
    assert RunbookFolder(tmp_path, Path("nowhere")).read() == []
    assert RunbookFolder(tmp_path, None).read() == []


EVIDENCE = Evidence.model_validate(
    {
        "service": "api",
        "check": "front",
        "reason": Reason.STATUS,
        "captured_at": "2026-01-02T03:04:05Z",
        "state": ServiceState(service="api", status=ServiceStatus.RUNNING),
        "check_kinds": {"front": CheckKind.HTTP},
    }
)


def may(remedy: str) -> Candidate:
    return Candidate(remedy=remedy, action_class=ActionClass.RESTART, actions=(), cause="c", cost=1)


def service(**changes: object) -> Service:
    commands = {"compact": DeclaredCommand(run=("true",), helps_with=(Reason.SLOW,))}
    return Service.model_validate({"run": ProcessRun(command=("api",)), "commands": commands} | changes)


ASKS = runbook(
    "title: the title\nwhen: [{}]\nactions: ['run_command:compact', clean_folder, free_port, restart]", "r.md"
)


def test_a_runbook_orders_the_candidates_and_brings_declared_commands_along() -> None:
    found = preferred([may("restart"), may("start"), may("clean_folder:spool")], [ASKS], EVIDENCE, service())
    assert {one.remedy: (one.runbook, one.runbook_place) for one in found} == {
        "restart": ("r.md", 3),
        "start": ("", 0),
        "clean_folder:spool": ("r.md", 1),
        "run_command:compact": ("r.md", 0),
    }
    # the evidence does not allow `free_port`, whatever the runbook says


@pytest.mark.parametrize("allowed", [service(commands={}), service(remedies=Remedies(never=("compact",)))])
def test_a_command_that_is_not_declared_or_not_permitted_is_no_candidate(allowed: Service) -> None:
    assert [one.remedy for one in preferred([may("restart")], [ASKS], EVIDENCE, allowed)] == ["restart"]


async def test_a_fault_is_mended_only_when_the_runbooks_checks_hold() -> None:
    failing: set[str] = set()
    looks: list[str] = []

    async def look(name: str, check: str, _within: object) -> ProbeResult:
        if check == "gone":
            raise NotFoundError("there is no check store/gone")
        looks.append(f"{name}/{check}")
        return ProbeResult(ok=check not in failing, reason=Reason.NONE)

    demands = runbook("title: x\nwhen: [{}]\nverification: {checks: [front, store/items], hold: 20ms}", "r.md")
    assert await held(look, "api", ("process",), [demands]) is None
    assert {"api/front", "store/items"} == set(looks)
    assert len(looks) > 2
    failing.add("items")
    seen = await held(look, "api", ("process",), [demands])
    assert seen is not None
    assert (seen.ok, seen.failing) == (False, ("store/items",))
    assert "runbook r.md" in seen.summary
    unknown = runbook("title: x\nwhen: [{}]\nverification: {checks: [store/gone]}")
    seen = await held(look, "api", ("process",), [unknown])
    assert seen is not None
    assert "there is no check store/gone" in seen.summary


def test_config_check_tells_the_mistakes_of_runbooks(tmp_path: Path) -> None:
    (tmp_path / "brainops.yaml").write_text("runbooks: books\n")
    missing = CliRunner().invoke(app, ["config", "check", str(tmp_path / "brainops.yaml")])
    assert (missing.exit_code, "correct runbooks in" in missing.stderr) == (2, True)
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.md").write_text("---\ntitle: x\nwhen: [{}]\nactions: [restrat]\n---\n")
    wrong = CliRunner().invoke(app, ["config", "check", str(tmp_path / "brainops.yaml")])
    assert wrong.exit_code == 2
    assert "books/a.md:4:" in wrong.stderr
    assert "did you mean restart?" in wrong.stderr
