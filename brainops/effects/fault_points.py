"""Named points at which the durability benchmark kills a worker, around each write of the ledger.

A benchmark that only kills at random moments hardly ever hits the few microseconds that matter.
"""

import os
import signal
from pathlib import Path

VARIABLE = "BRAINOPS_BENCH_KILL_POINTS"
"""Names a folder of tokens: a file `<point>` in it kills the first process that reaches the point, once."""


def reach(point: str) -> None:
    """Die by SIGKILL if a token for `point` lies in the benchmark's folder; nothing otherwise, as in production."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    token = Path(folder) / point
    try:
        # Of several processes that reach the point, the one that renames the token away is killed.
        token.rename(token.with_name(f"{point}.taken-by-{os.getpid()}"))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
