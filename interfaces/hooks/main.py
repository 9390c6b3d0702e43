"""`brainops-hook`: hands an event of a coding agent to the running API, and what memory answers back to the agent.

It runs at each prompt and each tool call, so it imports little, waits little and never fails: exit code 0 always. What
cannot be delivered now waits in a spool on disk. `BRAINOPS_HOOK_DEBUG=1` tells on stderr what went wrong.

    brainops-hook [--state-dir DIR | --url URL [--key-env NAME]] < payload.json
"""

import json
import os
import socket
import sys
import time
from collections.abc import MutableMapping

from interfaces.hooks.project import scope_of_folder
from interfaces.hooks.spool import LONGEST_EVENT, Spool, folder_for, folder_for_server, state_folder

ANSWERED = ("SessionStart", "UserPromptSubmit")
"""Events whose answer the agent waits for; of all others only the receipt is awaited."""

PATH = "/v1/memory/hooks/claude-code"

TOTAL_SECONDS = 2.0
"""For an event that is answered. BRAINOPS_HOOK_SECONDS gives more to a slow machine or a far server."""

RECEIPT_SHARE = 0.04
"""Of that, for an event that is not answered: the agent goes on after 80 ms."""

LOCAL_CONNECT_SECONDS = 0.05
DELIVERY_SECONDS = 10.0
"""For one event of the spool that is sent to a remote server, after the agent has gone on."""

MOST_DELIVERED = 200
MOST_INPUT = 64 * 1024 * 1024
LONGEST_ANSWER = 1024 * 1024


class RefusedError(Exception):
    """The server says that the event itself is wrong: sending it again is no use."""


class Target:
    """Where the API is, and with which key."""

    def __init__(self, arguments: list[str], environment: MutableMapping[str, str]) -> None:
        options = dict(zip(arguments[::2], arguments[1::2], strict=False))
        if "--state-dir" in options:
            environment["BRAINOPS_STATE_DIR"] = options["--state-dir"]
        self.url = (options.get("--url") or environment.get("BRAINOPS_URL") or "").rstrip("/")
        self.socket = state_folder(environment, os.geteuid()) + "/api.sock"
        self.key_variable = options.get("--key-env", "BRAINOPS_KEY")
        self.key_file = environment.get("BRAINOPS_KEY_FILE", "")
        user = os.geteuid()
        self.spool = Spool(folder_for_server(environment, self.url) if self.url else folder_for(environment, user))

    def post(self, body: bytes, seconds: float) -> bytes:
        """The answer to `body`. Raises OSError when there is none in time, RefusedError for one that is a refusal."""
        deadline = time.monotonic() + seconds
        key = os.environ.get(self.key_variable) or _key_of_file(self.key_file)
        connection, host, path = self._remote(deadline) if self.url else self._local(deadline)
        with connection:
            head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n"
            if key:
                head += f"Authorization: Bearer {key}\r\n"
            connection.settimeout(_left(deadline))
            connection.sendall(head.encode("latin-1", "replace") + b"\r\n" + body)
            received = bytearray()
            while len(received) < LONGEST_ANSWER:
                connection.settimeout(_left(deadline))
                chunk = connection.recv(65536)
                if not chunk:
                    break
                received += chunk
        return _content(bytes(received))

    def _local(self, deadline: float) -> tuple[socket.socket, str, str]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(min(LOCAL_CONNECT_SECONDS, _left(deadline)))
        try:
            connection.connect(self.socket)
        except OSError:
            connection.close()
            raise
        return connection, "localhost", PATH

    def _remote(self, deadline: float) -> tuple[socket.socket, str, str]:
        scheme, _, rest = self.url.partition("://")
        place, slash, path = rest.partition("/")
        name, colon, port = place.rpartition(":")
        if not colon or port.endswith("]"):
            name, port = place, "443" if scheme == "https" else "80"
        name = name.strip("[]")
        connection = socket.create_connection((name, int(port)), timeout=_left(deadline))
        if scheme == "https":
            import ssl  # noqa: PLC0415 - 10 ms that a local stack does not need

            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=name)
        return connection, place, slash + path + PATH


def main() -> None:
    """One event from stdin. Ends the process."""
    try:
        _handle(Target(sys.argv[1:], os.environ))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, the coding agent must not feel it
        _tell(f"{type(error).__name__}: {error}")
    # Without the interpreter's own end, which takes a tenth of the whole time.
    os._exit(0)


def _handle(target: Target) -> None:
    if sys.stdin.isatty():
        print(
            "brainops-hook reads the event of a coding agent from stdin; `brainops connect` sets it up", file=sys.stderr
        )
        return
    raw = sys.stdin.buffer.read(MOST_INPUT)
    if not raw.strip():
        return
    try:
        payload = json.loads(raw.decode("utf-8", "replace"))
        event = payload["hook_event_name"]
        if not isinstance(event, str):
            raise TypeError("hook_event_name is no text")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        target.spool.put_broken(raw)
        _tell(f"the payload is no event of a coding agent ({error}); it is kept in {target.spool.folder}/broken")
        return
    payload.setdefault("scope", scope_of_folder(str(payload.get("cwd") or "")))
    payload.setdefault("delivery_id", f"{time.time_ns()}-{os.getpid()}")
    if target.url and event not in ANSWERED:
        _keep(target, payload)
        _deliver_meanwhile(target)
        return
    seconds = float(os.environ.get("BRAINOPS_HOOK_SECONDS") or TOTAL_SECONDS)
    _deliver(target, payload, seconds if event in ANSWERED else seconds * RECEIPT_SHARE)


def _deliver(target: Target, payload: "dict[str, object]", seconds: float) -> None:
    """Send one event and print the answer; what does not get there waits in the spool."""
    body = _bounded(payload)
    try:
        answer = target.post(body, seconds)
    except RefusedError as error:
        target.spool.put_broken(body)
        _tell(f"the API refuses the event ({error}); it is kept in {target.spool.folder}/broken")
        return
    except OSError as error:
        _keep(target, payload)
        _tell(f"the API does not answer ({error}); the event waits in {target.spool.folder}")
        return
    if b'"hookSpecificOutput"' in answer:
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()
    if target.url and target.spool.names():
        _deliver_meanwhile(target)


def _keep(target: Target, payload: "dict[str, object]") -> None:
    """Into the spool, with the time at which it happened."""
    now = time.time()
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    payload.setdefault("at", f"{whole}.{int(now % 1 * 1e6):06d}Z")
    target.spool.put(_bounded(payload))


def _deliver_meanwhile(target: Target) -> None:
    """Send what waits for a remote server from a process of its own, so that the agent goes on."""
    sys.stdout.flush()
    if os.fork():
        return
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    import fcntl  # noqa: PLC0415

    lock = os.open(f"{target.spool.folder}/lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # another one is at it, and takes the new event too
        return
    for _ in range(MOST_DELIVERED):
        name = next(iter(target.spool.names()), None)
        if name is None:
            return
        body = target.spool.read(name)
        try:
            if body is not None:
                target.post(body, DELIVERY_SECONDS)
        except RefusedError:
            target.spool.set_aside(name)
        except OSError:
            return
        else:
            target.spool.remove(name)


def _bounded(payload: "dict[str, object]") -> bytes:
    """The event as JSON; of a tool result that is too large the beginning, with its size."""
    body = json.dumps(payload).encode()
    if len(body) > LONGEST_EVENT:
        text = json.dumps(payload.get("tool_response"), ensure_ascii=False)
        said = f"{text[: LONGEST_EVENT // 16]}\n[cut here: {len(text)} characters in all]"
        payload = {**payload, "tool_response": said}
        body = json.dumps(payload).encode()
    return body


def _content(received: bytes) -> bytes:
    """The body of an answer that says that the event has arrived. Raises OSError or RefusedError."""
    head, complete, content = received.partition(b"\r\n\r\n")
    status = head[9:12].decode("latin-1")
    if not complete or not head.startswith(b"HTTP/1.") or not status.isdigit():
        raise OSError("the answer is no HTTP")
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and len(content) < int(value):
            raise OSError("the answer was cut off")
    if status in {"400", "413", "422"}:
        raise RefusedError(content[:500].decode("utf-8", "replace"))
    if not status.startswith("2"):
        raise OSError(f"status {status}")
    return content


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it takes too long")
    return left


def _key_of_file(path: str) -> str:
    """The key in a file. Raises PermissionError where others may read it, too."""
    if not path:
        return ""
    with open(path, "rb") as file:  # noqa: PTH123
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise PermissionError(f"{path} may be read by others; chmod 600 it")
        return file.read(300).decode("ascii", "replace").strip()


def _tell(what: str) -> None:
    if os.environ.get("BRAINOPS_HOOK_DEBUG"):
        print(f"brainops-hook: {what}", file=sys.stderr)


if __name__ == "__main__":
    main()
