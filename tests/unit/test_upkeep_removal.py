"""A purge takes everything that BrainOps makes, and nothing else."""

import re
from pathlib import Path

from workers.upkeep.removal import OURS

ROOT = Path(__file__).resolve().parents[2]
_ENTRY = re.compile(r'\broot / "([^"/]+)"')


def test_every_entry_of_the_state_folder_that_the_code_names_is_ours() -> None:
    sources = [
        path for room in ("brainops", "workers", "activities", "interfaces") for path in (ROOT / room).rglob("*.py")
    ]
    named = {entry for path in sources for entry in _ENTRY.findall(path.read_text(encoding="utf-8"))}
    assert "log-kinds" in named
    assert named <= OURS
