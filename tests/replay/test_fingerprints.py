"""A change in the order of a workflow's commands is seen before a running plan trips over it."""

import json

import fingerprints
import pytest

KNOWN: dict[str, list[str]] = json.loads(fingerprints.FINGERPRINTS.read_text())


@pytest.mark.parametrize("module", sorted(fingerprints.fingerprints()))
def test_commands_stand_in_the_known_order(module: str) -> None:
    commands = fingerprints.fingerprints()[module]
    assert commands == KNOWN.get(module), (
        f"workflows/{module}.py gives its commands in another order than running plans recorded. Guard the change "
        "with workflow.patched() and a constant in brainops/contracts/names.py; where no running plan can reach it, "
        "accept it with `python tools/fingerprints.py --write`."
    )


def test_no_workflow_was_forgotten() -> None:
    assert set(KNOWN) == set(fingerprints.fingerprints())
