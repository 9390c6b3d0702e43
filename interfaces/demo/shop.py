"""The small shop of the demo: a web front, an API and a store, each a real HTTP process with real files.

A plain script of the standard library, started by its path, so that it answers within a tenth of a second and
owes nothing to BrainOps:

    python -I -S shop.py store --port 8001 --directory DIR     keeps the items in a journal
    python -I -S shop.py api   --port 8002 --directory DIR     asks the store, keeps uploads in a scratch folder
    python -I -S shop.py web   --port 8003 --directory DIR     asks the API, finds its pages by an index
    python -I -S shop.py compact --directory DIR               drops superseded lines from the web front's index
    python -I -S shop.py squat --port 8003                     a stranger that takes a port (for the demo's fault)

`GET /health` answers the truth: 200, or 503 with the reason, also when a dependency is why. `DIR/config.json` is
read at the start and again whenever it changes (or on SIGHUP); when it cannot be read the process says so and ends.
Every start appends its time, pid and `BRAINOPS_EFFECT_KEY` to `DIR/starts.jsonl`.
"""

import argparse
import hashlib
import http.client
import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

CONFIG_EXIT_CODE = 78
"""EX_CONFIG of sysexits.h: the configuration cannot be used."""
CONFIG_WATCH_SECONDS = 0.1
UPSTREAM_TIMEOUT_SECONDS = 0.3
RESULT_BYTES = 512 * 1024
"""Size of one rendered search result, which the web front keeps for ever: its leak."""


class Settings(NamedTuple):
    """What `config.json` says."""

    upstream_port: int | None
    """Where the next service listens; None: this one depends on nobody."""
    scratch_quota_bytes: int


class Unhealthy(Exception):  # noqa: N818  the field's word for the state, which is not an error of the code
    """This service cannot do its work; the message says why."""


class StorageFull(Unhealthy):
    """The scratch folder is over its quota."""


def log(level: str, message: str) -> None:
    """Write one line to the service's log."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S")
    sys.stderr.write(f"{moment} {level} {message}\n")
    sys.stderr.flush()


def read_settings(directory: Path) -> Settings:
    """Read `config.json`. Raises ValueError or OSError when it cannot be used."""
    document = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    return Settings(
        upstream_port=document.get("upstream_port"),
        scratch_quota_bytes=int(document.get("scratch_quota_bytes", 4_000_000)),
    )


def record_start(directory: Path) -> None:
    """Append this start to `starts.jsonl`: one write, so that lines of two starts never mix."""
    entry = {"at": time.time(), "pid": os.getpid(), "effect_key": os.environ.get("BRAINOPS_EFFECT_KEY", "")}
    line = (json.dumps(entry) + "\n").encode()
    descriptor = os.open(directory / "starts.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def resident_bytes() -> int:
    """Resident memory of this process, from /proc."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Role:
    """One of the three services: what it answers, and whether it can."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.settings = settings

    def check(self) -> None:
        """Do a small piece of the real work. Raises Unhealthy."""
        self.ask_upstream("/health")

    def answer(self, path: str, query: dict[str, list[str]]) -> bytes | None:
        """Answer of GET `path`; None: no such page. Raises Unhealthy."""
        raise NotImplementedError

    def accept(self, path: str, body: bytes) -> bytes | None:
        """Answer of POST `path`; None: no such page. Raises Unhealthy."""
        del path, body

    def close(self) -> None:
        """Called on a clean stop."""

    def ask_upstream(self, path: str) -> bytes:
        """GET `path` of the next service; empty when there is none. Raises Unhealthy."""
        port = self.settings.upstream_port
        if port is None:
            return b""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=UPSTREAM_TIMEOUT_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unhealthy(f"upstream on port {port} does not answer: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise Unhealthy(f"upstream on port {port} answers {response.status}")
        return body


class Store(Role):
    """Keeps items in an append-only journal, each line sealed with the hash of all before it.

    After an unclean end the whole journal is verified before the first answer, as databases do.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        super().__init__(directory, settings)
        self._journal = directory / "journal.jsonl"
        self._clean = directory / "clean"
        self._lock = threading.Lock()
        self._journal.touch()
        ended_cleanly = self._clean.exists()
        self._clean.unlink(missing_ok=True)
        self._count, self._seal = self._last_line() if ended_cleanly else self._verify()

    def _last_line(self) -> tuple[int, str]:
        with self._journal.open("rb") as journal:
            journal.seek(max(0, self._journal.stat().st_size - 4096))
            lines = journal.read().splitlines()
        if not lines:
            return 0, ""
        last = json.loads(lines[-1])
        return last["id"], last["seal"]

    def _verify(self) -> tuple[int, str]:
        count, seal = 0, ""
        with self._journal.open(encoding="utf-8") as journal:
            for line in journal:
                entry = json.loads(line)
                if entry["seal"] != sealed(seal, entry["id"], entry["name"]):
                    raise Unhealthy(f"the journal is damaged at item {entry['id']}")
                count, seal = entry["id"], entry["seal"]
        return count, seal

    def check(self) -> None:
        if not os.access(self._journal, os.W_OK):
            raise Unhealthy("the journal is not writable")

    def answer(self, path: str, query: dict[str, list[str]]) -> bytes | None:
        del query
        return json.dumps({"items": self._count}).encode() if path == "/items" else None

    def accept(self, path: str, body: bytes) -> bytes | None:
        if path != "/items":
            return None
        name = body.decode("utf-8", "replace")
        with self._lock, self._journal.open("a", encoding="utf-8") as journal:
            number = self._count + 1
            seal = sealed(self._seal, number, name)
            journal.write(json.dumps({"id": number, "name": name, "seal": seal}) + "\n")
            self._count, self._seal = number, seal
        return json.dumps({"id": number}).encode()

    def close(self) -> None:
        with self._lock:
            self._clean.touch()


def sealed(previous: str, number: int, name: str) -> str:
    """Seal of a journal line, over its content and the seal before it."""
    return hashlib.sha256(f"{previous}/{number}/{name}".encode()).hexdigest()[:16]


class Api(Role):
    """Answers from the store, and takes uploads into a scratch folder with a quota."""

    def _scratch_bytes(self) -> int:
        try:
            with os.scandir(self.directory / "scratch") as entries:
                return sum(entry.stat().st_size for entry in entries if entry.is_file())
        except FileNotFoundError as error:
            raise Unhealthy("the scratch folder is missing") from error

    def _need_room(self) -> None:
        used, quota = self._scratch_bytes(), self.settings.scratch_quota_bytes
        if used > quota:
            raise StorageFull(f"scratch folder is full: {used} bytes of {quota}")

    def check(self) -> None:
        self._need_room()
        super().check()

    def answer(self, path: str, query: dict[str, list[str]]) -> bytes | None:
        del query
        return self.ask_upstream("/items") if path == "/items" else None

    def accept(self, path: str, body: bytes) -> bytes | None:
        if path != "/upload":
            return None
        self._need_room()
        name = f"upload-{time.time_ns()}.tmp"
        (self.directory / "scratch" / name).write_bytes(body)
        return json.dumps({"stored": name}).encode()


class Web(Role):
    """Finds its pages by an index that each edit appends to, and keeps every search result it ever made."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        super().__init__(directory, settings)
        self._results: dict[str, str] = {}

    def _pages(self) -> dict[str, str]:
        """The newest version of each page. Reads the whole index: edits that pile up make every answer slow."""
        with (self.directory / "pages.idx").open(encoding="utf-8") as index:
            return dict(line.split("\t", 1) for line in index)

    def check(self) -> None:
        if "home" not in self._pages():
            raise Unhealthy("the index does not know the page home")
        super().check()

    def answer(self, path: str, query: dict[str, list[str]]) -> bytes | None:
        if path == "/search":
            asked = query.get("q", [""])[0]
            self._results[asked] = f"nothing found for {asked}. ".ljust(RESULT_BYTES)
            return self._results[asked][:200].encode()
        page = self._pages().get(path.strip("/") or "home")
        if page is None:
            return None
        return page.encode() + self.ask_upstream("/items")


def compact(directory: Path) -> None:
    """Rewrite the index with the newest line of each page only."""
    index = directory / "pages.idx"
    with index.open(encoding="utf-8") as lines:
        newest = dict(line.split("\t", 1) for line in lines)
    draft = directory / "pages.idx.new"
    draft.write_text("".join(f"{page}\t{version}" for page, version in newest.items()), encoding="utf-8")
    draft.replace(index)


class ShopServer(ThreadingHTTPServer):
    """An HTTP server on loopback that holds one role."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, role: Role) -> None:
        self.role = role
        self.complaint = ""
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        # HTTPServer's own looks the host's name up, which can take seconds where DNS is slow.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/health":
            self._health()
            return
        try:
            body = self._role.answer(parts.path, parse_qs(parts.query))
        except Unhealthy as reason:
            self._refuse(reason)
            return
        self._send(200 if body is not None else 404, body or b"no such page\n")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            answer = self._role.accept(urlsplit(self.path).path, body)
        except Unhealthy as reason:
            self._refuse(reason)
            return
        self._send(200 if answer is not None else 404, answer or b"no such page\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
        """Requests are not logged: the log is for what went wrong."""

    @property
    def _role(self) -> Role:
        return self._shop_server.role

    @property
    def _shop_server(self) -> ShopServer:
        assert isinstance(self.server, ShopServer)  # noqa: S101  for the type checker
        return self.server

    def _health(self) -> None:
        facts = {"pid": os.getpid(), "rss_bytes": resident_bytes()}
        try:
            self._role.check()
        except (Unhealthy, OSError) as reason:
            self._complain(str(reason))
            self._send(503, json.dumps(facts | {"status": "failing", "reason": str(reason)}).encode())
            return
        self._complain("")
        self._send(200, json.dumps(facts | {"status": "ok"}).encode())

    def _refuse(self, reason: Unhealthy) -> None:
        self._complain(str(reason))
        self._send(507 if isinstance(reason, StorageFull) else 503, f"{reason}\n".encode())

    def _complain(self, reason: str) -> None:
        """Log a reason once, not at each request that meets it."""
        server = self._shop_server
        if reason and not server.complaint:
            log("ERROR", reason)
        server.complaint = reason

    def _send(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client did not wait


ROLES: dict[str, type[Role]] = {"store": Store, "api": Api, "web": Web}


def watch_settings(role: Role, reread: threading.Event) -> None:
    """Take a changed `config.json` over; end the process when it cannot be used."""
    path = role.directory / "config.json"

    def stamp() -> tuple[int, int]:
        try:
            found = path.stat()
        except FileNotFoundError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_size)

    seen = stamp()
    while True:
        asked = reread.wait(CONFIG_WATCH_SECONDS)
        reread.clear()
        if asked or stamp() != seen:
            seen = stamp()
            try:
                role.settings = read_settings(role.directory)
            except (ValueError, OSError) as error:
                log("ERROR", f"cannot read config.json: {error}")
                os._exit(CONFIG_EXIT_CODE)


def serve(role_name: str, port: int, directory: Path) -> int:
    """Run one of the three services until SIGTERM. Returns the exit code."""
    record_start(directory)
    try:
        settings = read_settings(directory)
    except (ValueError, OSError) as error:
        log("ERROR", f"cannot read config.json: {error}")
        return CONFIG_EXIT_CODE
    try:
        role = ROLES[role_name](directory, settings)
        server = ShopServer(port, role)
    except Unhealthy as reason:
        log("ERROR", str(reason))
        return 1
    except OSError as error:
        log("ERROR", f"cannot listen on port {port}: {error.strerror}")
        return 1
    reread, stop = threading.Event(), threading.Event()

    def on_signal(number: int, frame: object) -> None:
        del frame
        (reread if number == signal.SIGHUP else stop).set()

    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    threading.Thread(target=watch_settings, args=(role, reread), daemon=True).start()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    log("INFO", f"{role_name} listens on port {port}")
    stop.wait()
    server.shutdown()
    role.close()
    log("INFO", f"{role_name} stops")
    return 0


def squat(port: int) -> None:
    """Say that it waits, take the port as soon as it is free, and answer everything with 404, for ever."""
    sys.stdout.write(f"waiting for port {port}\n")
    sys.stdout.flush()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    while True:
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(64)
            break
        except OSError:
            time.sleep(0.0005)  # waiting for the moment between a crash and the restart is this role's purpose
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.settimeout(0.2)
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            except OSError:
                continue


def main() -> int:
    """Run one role of the shop. Returns the exit code."""
    parser = argparse.ArgumentParser(description="The small shop of BrainOps' demo.")
    parser.add_argument("role", choices=[*ROLES, "compact", "squat"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--directory", type=Path, default=Path())
    given = parser.parse_args()
    if given.role == "squat":
        squat(given.port)
    if given.role == "compact":
        compact(given.directory)
        return 0
    return serve(given.role, given.port, given.directory)


if __name__ == "__main__":
    sys.exit(main())
