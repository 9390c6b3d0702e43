"""Which reason an error of the network stands for, and how a person reads it."""

import errno
import os
import socket

from brainops.contracts.check import Reason

_REFUSED = f"[Errno {errno.ECONNREFUSED}]"
_RESET = frozenset({errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE})


def from_os_error(error: OSError) -> tuple[Reason, str]:
    """Reason and sentence for an error of a connection.

    Several addresses of one name may fail together (`localhost` on IPv6 and IPv4): the first is told.
    """
    if error.errno == errno.ECONNREFUSED or _REFUSED in str(error):
        return Reason.REFUSED, "connection refused"
    if error.errno in _RESET or isinstance(error, ConnectionError):
        return Reason.RESET, "connection reset"
    if error.errno == errno.ETIMEDOUT:
        return Reason.TIMEOUT, "connection timed out"
    if isinstance(error, socket.gaierror):
        return Reason.ERROR, f"the name cannot be resolved: {error.strerror}"
    return Reason.ERROR, os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
