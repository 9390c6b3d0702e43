"""Errands of the stack: short programs of their own, so that what only they import leaves memory with them.

SQLAlchemy with Alembic and the Temporal SDK are some 50 MB, and the stack, which stays for days, needs each of them for
less than a second. `python -m workers.stack.errands NAME` reads its input to the end and prints one line of JSON.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from brainops.config.paths import StatePaths
from brainops.errors import BrainOpsError, SetupError, UnavailableError
from workers.stack.process import PYTHON, launcher

MIGRATE, SEE_TO_TEMPORAL = "migrate", "see-to-temporal"
"""Names of the errands."""

LOG_LINES_SHOWN = 8


class Errand:
    """One that has been started: it imports what it needs while its input is not yet known."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process

    async def done(self, given: dict[str, str]) -> str:
        """Give it its input and wait for its answer. Raises what it raised: SetupError or UnavailableError.

        Through a pipe: arguments and environments can be read by others, and `given` may hold a password.
        """
        answer, said = await self._process.communicate(json.dumps(given).encode())
        if self._process.returncode != 0:
            lines = said.decode(errors="replace").strip().splitlines()[-LOG_LINES_SHOWN:]
            raise SetupError("\n".join((f"the step `{self._name}` failed:", *(f"  {line}" for line in lines))))
        outcome: dict[str, str] = json.loads(answer)
        if "unavailable" in outcome:
            raise UnavailableError(outcome["unavailable"])
        if "error" in outcome:
            raise SetupError(outcome["error"])
        return outcome["answer"]


@asynccontextmanager
async def errand(name: str) -> AsyncGenerator[Errand]:
    """Start an errand; at the end of the block it is over, whatever happened. Call it in the main thread."""
    process = await asyncio.create_subprocess_exec(
        *launcher(signal.SIGKILL),
        *PYTHON,
        "-m",
        "workers.stack.errands",
        name,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the stack, which then ends this
    )
    try:
        yield Errand(name, process)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def main() -> int:
    """Run the errand that the first argument names."""
    # What each one needs is imported before its input is waited for.
    if sys.argv[1] == MIGRATE:
        from brainops.database.migrate import upgrade  # noqa: PLC0415 - the reason for a program of its own

        def work(given: dict[str, str]) -> str:
            return upgrade(given["owner_url"], StatePaths(Path(given["state_folder"])))
    else:
        from workers.stack.temporal_namespace import see_to  # noqa: PLC0415 - the reason for a program of its own

        def work(given: dict[str, str]) -> str:
            return asyncio.run(see_to(given["address"], given["namespace"]))

    try:
        outcome = {"answer": work(json.load(sys.stdin))}
    except UnavailableError as error:
        outcome = {"unavailable": str(error)}
    except BrainOpsError as error:
        outcome = {"error": str(error)}
    print(json.dumps(outcome), flush=True)
    # Not by way of the interpreter's finalization, which threads of the Temporal SDK can turn into a crash.
    os._exit(0)


if __name__ == "__main__":
    main()
