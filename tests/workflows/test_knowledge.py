"""What people wrote down is what a plan tries, and what it tells."""

import sys
from pathlib import Path

from house import Builder

from brainops.contracts.incident import IncidentStatus
from brainops.memory.deeds import DeedStore

RUNBOOK = """\
---
title: It was killed
when: [{kind: crash}]
actions: ["run_command:note", start]
verification: {checks: [front], hold: 300ms}
---
Look who did it.
"""


def runbooks(folder: Path, text: str = RUNBOOK) -> str:
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "killed.md").write_text(text)
    return "runbooks"


async def test_a_runbook_says_what_is_tried_first(builder: Builder) -> None:
    # declared for slowness alone: only the runbook asks for it after a crash
    commands = {"note": {"run": [sys.executable, "-c", "print('noted')"], "helps_with": ["slow"]}}
    folder = runbooks(builder.folder)
    async with builder.house({"shop": {"commands": commands}}, runbooks=folder) as house:
        await house.answers("shop")
        await house.crash("shop")
        detail = await house.incident("shop", IncidentStatus.RESOLVED)
        assert detail.row.remedy == "run_command:note"
        decisions = await DeedStore(house.database).decisions(detail.row.plan_id)
        assert decisions[0].reason.startswith("runbook runbooks/killed.md asks for run_command:note")


async def test_an_escalation_names_the_runbook(builder: Builder) -> None:
    folder = runbooks(builder.folder)
    async with builder.house({"shop": {"remedies": {"only": ["start"]}}}, runbooks=folder) as house:
        await house.answers("shop")
        await house.crash("shop")  # what was killed is not merely started
        detail = await house.incident("shop", IncidentStatus.ESCALATED)
        assert "Runbook: runbooks/killed.md." in detail.timeline[-1].note


async def test_what_a_runbook_demands_must_hold_before_a_remedy_has_helped(builder: Builder) -> None:
    folder = runbooks(builder.folder, RUNBOOK.replace("checks: [front]", "checks: [nowhere/front]"))
    async with builder.house({"shop": {}}, runbooks=folder) as house:
        await house.answers("shop")
        await house.crash("shop")
        detail = await house.incident("shop", IncidentStatus.RECOVERED, IncidentStatus.ESCALATED, timeout=40)
        assert not detail.attempts[0].helped
        assert "there is no check nowhere/front" in detail.attempts[0].summary
