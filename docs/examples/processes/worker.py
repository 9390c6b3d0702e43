"""A little daemon with the three commands of an init script: `worker.py start|stop|status`."""  # noqa: INP001 - an example, no package

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PID_FILE = HERE / "worker.pid"
NOT_RUNNING = 3


def running() -> int:
    """The daemon's pid; 0 when it does not run."""
    try:
        pid = int(PID_FILE.read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ValueError):
        return 0
    return 0 if state in "XZ" else pid


def main() -> int:
    """Do what the argument says; the exit code is that of an init script."""
    match sys.argv[1:]:
        case ["start"]:
            if running():
                return 0
            with (HERE / "worker.log").open("a") as log:
                daemon = subprocess.Popen(
                    [sys.executable, __file__, "work"], stdout=log, stderr=log, start_new_session=True, cwd=HERE
                )
            PID_FILE.write_text(str(daemon.pid))
            daemon.returncode = 0  # it is left to itself
        case ["stop"]:
            if pid := running():
                os.kill(pid, signal.SIGTERM)
            while running():
                time.sleep(0.05)
        case ["status"]:
            print("running" if running() else "not running")
            return 0 if running() else NOT_RUNNING
        case ["work"]:
            print("open for work", flush=True)
            signal.pause()
        case _:
            print("write worker.py start, stop or status", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
