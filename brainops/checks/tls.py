"""TLS contexts for probes: made once for each set of files, and anew when one of the files changes.

To make one costs tens of milliseconds (it reads every authority that the system trusts); to look whether a file is
still the same, microseconds.
"""

import ssl

from brainops.config.certificates import Stamp, TlsFiles


class TlsContexts:
    """Remembers the contexts of the checks of a configuration: as many as it names sets of files."""

    def __init__(self) -> None:
        self._made: dict[TlsFiles, tuple[Stamp, ssl.SSLContext]] = {}

    def of(self, files: TlsFiles) -> ssl.SSLContext:
        """A context for these files as they are now. Raises CertificateError."""
        stamp = files.stamp()
        made = self._made.get(files)
        if made is None or made[0] != stamp:
            self._made.pop(files, None)
            made = self._made[files] = stamp, files.context()
        return made[1]
