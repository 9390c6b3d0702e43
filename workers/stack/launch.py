"""Become a child of the stack that cannot outlive it: `launch.py PARENT SIGNAL UID GID -- COMMAND…`.

Runs between the stack and each of its processes (a `preexec_fn` is not safe beside the threads of the Temporal SDK),
keeps the pid, and needs ten milliseconds. Only the standard library is imported, as it runs without ours.
UID and GID are `-` to keep those of the stack.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Drop to the user, ask the kernel for `SIGNAL` when the parent dies, and become the command."""
    parent, death_signal, user, group, _, *command = sys.argv[1:]
    if user != "-":
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    # After the change of user, which clears it.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGKILL)  # the parent died before we asked
    try:
        os.execvp(command[0], command)  # noqa: S606 - an argument list, and no shell is wanted
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
