"""Certificates and keys that the file names: whether they can be used, and the TLS context made of them."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from brainops.config.quantities import format_size

_LARGEST = 1_000_000

Stamp = tuple[tuple[int, int, int], ...]
"""Versions of files: a renewed certificate has another."""


class CertificateError(ValueError):
    """A certificate or key cannot be used. `field`: the setting that names it."""

    def __init__(self, field: str, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.field = field
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True)
class TlsFiles:
    """What a check says of TLS, with whole paths."""

    verify: bool = True
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def stamp(self) -> Stamp:
        """The versions of its files as they are now; a missing one has none."""
        return tuple(_stamp(path) for path in (self.ca, self.certificate, self.key) if path is not None)

    def context(self) -> ssl.SSLContext:
        """A TLS client made of them. Raises CertificateError. Reads the files: not for every probe."""
        context = ssl.create_default_context()
        if self.ca is not None:
            _readable("ca", self.ca)
            # What the file names is trusted instead of the system's authorities, not beside them.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_verify_locations(cafile=self.ca)
            except (ssl.SSLError, OSError) as error:
                message = f"{str(self.ca)[:200]!r} holds no certificates that can be read ({_words(error)})"
                raise CertificateError("ca", message, "name a PEM file of certificates") from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            _show(context, self.certificate, self.key)
        return context


def expiry_of(certificate: bytes) -> datetime:
    """Until when a certificate (DER) is valid. Raises ValueError for what is none."""
    from cryptography import x509  # noqa: PLC0415 - 9 MB in each process that reads a file; few name a certificate

    return x509.load_der_x509_certificate(certificate).not_valid_after_utc


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    from cryptography import x509  # noqa: PLC0415 - as above

    pem = _readable("client_certificate", certificate)
    if key is not None:
        _readable("client_key", key)
    named = repr(str(certificate)[:200])
    try:
        expires = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError as error:
        message = f"{named} holds no certificate that can be read"
        raise CertificateError("client_certificate", message, "name a PEM file with the certificate first") from error
    if expires <= datetime.now(UTC):
        message = f"the certificate in {named} expired on {expires:%Y-%m-%d}"
        raise CertificateError("client_certificate", message, "renew it")
    try:
        # Without a password given, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, OSError) as error:
        field = "client_key" if key is not None else "client_certificate"
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            message = f"the key is not that of the certificate in {named}"
            raise CertificateError(field, message, "name the key that the certificate was made for") from error
        message = f"the key in {str(key or certificate)[:200]!r} cannot be read ({_words(error)})"
        raise CertificateError(field, message, "name a PEM file with the key, without a passphrase") from error


def _readable(field: str, path: Path) -> bytes:
    named = repr(str(path)[:200])
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise CertificateError(field, f"{named} is not a file", "name a PEM file")
        if status.st_size > _LARGEST:
            message = f"{named} is larger than {format_size(_LARGEST)}"
            raise CertificateError(field, message, "name a PEM file")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, CertificateError):
            raise
        message = f"{named} cannot be read ({_words(error)})"
        raise CertificateError(field, message, "correct the path, or let the user of BrainOps read it") from error


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else None) or str(error)[:100] or type(error).__name__


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino
