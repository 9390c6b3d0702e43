"""Say once that something is away, and once that it is back."""

from dataclasses import dataclass


@dataclass
class Outage:
    """Counts the failures of one thing (a database, a server), so that its log holds two lines and not thousands.

    if outage.failed():
        log.warning("the database is away")
    ...
    if failures := outage.recovered():
        log.info("the database is back", failures=failures)
    """

    failures: int = 0
    """Failures in a row until now; 0 while all is well."""

    def failed(self) -> bool:
        """Count a failure. True for the first in a row: the one to speak of."""
        self.failures += 1
        return self.failures == 1

    def recovered(self) -> int:
        """Count a success: how many failures it ended, 0 if there was no outage."""
        ended, self.failures = self.failures, 0
        return ended
