"""Apprise, loaded when the first address needs it: it costs a second, and most installations start without."""

import logging
import threading
import warnings
from typing import Any

_loading = threading.Lock()


def sender(url: str) -> Any:
    """An Apprise object that sends to `url`; None when it cannot use it. Any: its own types are partly unknown.

    Its log holds addresses, and so is kept out of ours.
    """
    with _loading, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what it imports
        import apprise  # noqa: PLC0415

        logging.getLogger("apprise").propagate = False
        made: Any = apprise.Apprise()
        return made if made.add(url) else None
