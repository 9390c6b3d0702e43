"""Which reason an error of the network stands for, and how a person reads it."""

import errno
import os
import socket
import ssl

from brainops.contracts.check import Reason

_REFUSED = f"[Errno {errno.ECONNREFUSED}]"
_RESET = frozenset({errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE})
_OF_CERTIFICATES = ("certificate", "unknown ca", "decrypt error", "access denied")
"""In the alerts with which a server turns down a client's certificate."""


def from_os_error(error: OSError) -> tuple[Reason, str]:
    """Reason and sentence for an error of a connection.

    Several addresses of one name may fail together (`localhost` on IPv6 and IPv4): the first is told.
    """
    if isinstance(error, ssl.SSLError):
        return from_tls_error(error)
    if error.errno == errno.ECONNREFUSED or _REFUSED in str(error):
        return Reason.REFUSED, "connection refused"
    if error.errno in _RESET or isinstance(error, ConnectionError):
        return Reason.RESET, "connection reset"
    if error.errno == errno.ETIMEDOUT:
        return Reason.TIMEOUT, "connection timed out"
    if isinstance(error, socket.gaierror):
        return Reason.ERROR, f"the name cannot be resolved: {error.strerror}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Reason.ERROR, "BrainOps has no file descriptors left; raise its limit (ulimit -n)"
    return Reason.ERROR, os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def from_tls_error(error: ssl.SSLError) -> tuple[Reason, str]:
    """Reason and sentence for a connection on which TLS failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Reason.CERTIFICATE, f"the certificate is not to be trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Reason.RESET, "the connection was closed in the middle of TLS"
    words = (error.reason or str(error)).replace("_", " ").lower()
    if "alert" in words and any(word in words for word in _OF_CERTIFICATES):
        return Reason.CERTIFICATE, f"the server does not accept our certificate: {words}"
    return Reason.PROTOCOL, f"not valid TLS: {words}"
