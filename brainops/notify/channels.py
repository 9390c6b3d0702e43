"""Sending through Apprise: one thread a channel, so that a channel that hangs holds up nobody else.

An address holds a token. It is never logged: what Apprise says of a failure goes through redaction and into the
answer, and nowhere else.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from brainops.config.apprise_urls import sender
from brainops.config.environment import expand, references
from brainops.config.notify import Channel, Severity
from brainops.errors import ActionError, ConfigError
from brainops.telemetry.redaction import clean

SEND_SECONDS = 20.0
_SPARE_SECONDS = 5.0

_TYPES: dict[Severity, str] = {"critical": "failure", "warning": "warning", "info": "info"}
_LONGEST_ERROR = 200
_MOST_SAID = 3
_LONGEST_SAID = 1000


class Channels:
    """The channels of the file, ready to be sent to. `environment`: where `${NAME}` comes from."""

    def __init__(self, channels: Mapping[str, Channel], environment: Mapping[str, str]) -> None:
        self._channels = channels
        self._environment = environment
        self._threads: dict[str, ThreadPoolExecutor] = {}

    async def send(self, name: str, severity: Severity, subject: str, body: str, *, closing: bool = False) -> None:
        """Send one message. Raises ConfigError for a channel that cannot be used, ActionError when it was not taken."""
        channel = self._channels.get(name)
        if channel is None:
            raise ConfigError(f"there is no channel {name!r} in brainops.yaml any more")
        kind = "success" if closing else _TYPES[severity]
        thread = self._threads.setdefault(name, ThreadPoolExecutor(1, thread_name_prefix=f"notify-{name}"))
        sending = asyncio.get_running_loop().run_in_executor(thread, self._deliver, name, channel, kind, subject, body)
        try:
            await asyncio.wait_for(asyncio.shield(sending), SEND_SECONDS + _SPARE_SECONDS)
        except TimeoutError:
            # The thread ends by Apprise's own time-outs; the next message of this channel gets a new one.
            self._threads.pop(name).shutdown(wait=False, cancel_futures=True)
            sending.add_done_callback(_ignore)
            raise ActionError(f"channel {name} did not take the message within {SEND_SECONDS:g} s") from None

    def close(self) -> None:
        """Give the threads back."""
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)
        self._threads.clear()

    def _deliver(self, name: str, channel: Channel, kind: str, subject: str, body: str) -> None:
        url = expand(channel.url, self._environment)
        secrets = [url, *(self._environment[key] for key in references(channel.url) if key in self._environment)]
        apprise = sender(url)
        if apprise is None:
            raise ConfigError(f"the address of channel {name} is none that Apprise can use; `brainops config check`")
        said: deque[str] = deque(maxlen=_MOST_SAID)

        def overhear(entry: Any, _sender: Any) -> None:
            said.append(str(entry.message)[:_LONGEST_SAID])

        taken = apprise.notify(
            body=body,
            title=subject,
            notify_type=kind,
            body_format="text",
            timeout=SEND_SECONDS,
            log_callback=overhear,
            log_level=logging.WARNING,
        )
        if not taken:
            why = clean(
                "; ".join(said) or "no reason given", _LONGEST_ERROR, [text for text in secrets if len(text) > 3]
            )
            raise ActionError(f"channel {name} did not take the message: {why}")


def _ignore(sending: "asyncio.Future[None]") -> None:
    """Take the result of a send that nobody waits for any more."""
    if not sending.cancelled():
        sending.exception()
