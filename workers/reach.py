"""Whether anybody listens at an address: asked before the Temporal SDK is.

The SDK goes on trying in threads of its own for seconds; a process that gives up on it and ends meanwhile is aborted
by one of them (temporalio 1.35: `PyGILState_Release` while finalizing), exit code and all. So it is only asked to
connect where something answers. It also costs half a second to import.
"""

import asyncio
import contextlib
import os

DEFAULT_ADDRESS = "127.0.0.1:7233"


def temporal_address() -> str:
    """Address of the Temporal server by its environment; a profile's address if one is named, for which it is loaded."""
    named = os.environ.get("TEMPORAL_ADDRESS")
    if named:
        return named
    if not {"TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"} & os.environ.keys():
        return DEFAULT_ADDRESS
    from temporalio.envconfig import ClientConfig  # noqa: PLC0415 - see above

    return ClientConfig.load_client_connect_config().get("target_host") or DEFAULT_ADDRESS


async def listens(address: str, timeout_seconds: float) -> bool:
    """Whether a TCP connection to `host:port` is taken in time."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(timeout_seconds):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
