"""Short programs: an answer, a limit, and nothing left behind."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from brainops.errors import ActionError, UnavailableError
from brainops.services import procfs, programs

LEAVES_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
print("done", file=sys.stderr)
sys.exit(3)
"""


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_a_child_that_lives_on_holds_neither_the_answer_nor_descriptors() -> None:
    before = descriptors()
    done = await programs.run((sys.executable, "-S", "-c", LEAVES_A_CHILD), timeout_seconds=60, environment={})
    child = int(done.output)
    try:
        assert (done.exit_code, done.said) == (3, "done")
        assert procfs.stat(child) is not None
        async with asyncio.timeout(20):
            while descriptors() > before:
                await asyncio.sleep(0.01)
    finally:
        os.kill(child, 9)


async def test_only_the_last_words_are_kept() -> None:
    talk = "print('x' * 500_000 + 'end')"
    done = await programs.run((sys.executable, "-S", "-c", talk), timeout_seconds=60, environment={}, max_bytes=10)
    assert done.output == b"xxxxxxend\n"


async def test_what_does_not_end_is_killed_with_all_of_its_session(tmp_path: Path) -> None:
    spawn = "import subprocess, sys, time; open('pid', 'w').write(str(subprocess.Popen(['sleep', '600']).pid)); time.sleep(600)"
    with pytest.raises(UnavailableError, match="had not ended after 2 s and was killed"):
        await programs.run(
            (sys.executable, "-S", "-c", spawn),
            timeout_seconds=2,
            environment={"PATH": os.environ["PATH"]},
            directory=tmp_path,
        )
    pid = int((tmp_path / "pid").read_text())
    give_up_at = time.monotonic() + 20
    while (found := procfs.stat(pid)) is not None and not found.ended and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert found is None or found.ended


async def test_what_cannot_be_executed_is_named() -> None:
    with pytest.raises(ActionError, match="/no/such cannot be run"):
        await programs.run(("/no/such",), timeout_seconds=1, environment={})
