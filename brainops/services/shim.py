"""The shim: starts one service process, and outlives BrainOps beside it.

It is run as a script (`python -I -S shim.py SERVICE`), not imported by the worker, so that it is started in
milliseconds and holds nothing of the worker: only built-in modules are used (`json` or `signal` alone would double
its start). What to start comes on standard input (see `encode_spec`), because arguments are visible to everybody.

What it promises:

- One effect key starts at most one process, whoever races: the check and the start happen under a lock of the
  service's folder that the new process itself holds until `exec`, and the key's start record is written before `exec`.
- The process belongs to nobody: own session, default signals, no descriptor of ours, the shim as its only parent.
- When it ends, its exit code is kept. Kill the shim and only that is lost.

Files in the service's folder: `lock`; `run.json`, the newest start; `effects/KEY.start.json`, `KEY.exit.json` and
`KEY.error`, each start, its end, and why there was no `exec`; `starts.log`; `output.log`; `output.discarded`, the
bytes that rotation has removed from its front. Each start also touches the folder of all services, so that one look
tells whether any of them was started.
"""

import fcntl
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # `signal` imports `enum`, which alone costs half of the start

EXEC_FAILED = 127
"""Exit code of a process that could not be made into the service, as shells have it."""

STARTED, DUPLICATE, CHANGED, FAILED = "started", "duplicate", "changed", "failed"
"""What the shim answers, as the first word of a line. `changed`: another start came first; look again."""

_STARTS_LIMIT = 256 * 1024
_SPEC_END = b"end"


class BrokenSpec(Exception):  # noqa: N818
    """The worker died while it wrote the spec: nothing is started."""


class Spec:
    """What to start. Everything is bytes, as the kernel has it."""

    def __init__(
        self,
        folder: bytes,
        service: bytes,
        effect_key: bytes,
        directory: bytes,
        previous: bytes,
        command: list[bytes],
        environment: list[bytes],
    ) -> None:
        self.folder = folder
        self.service = service
        self.effect_key = effect_key
        self.directory = directory
        self.previous = previous
        """Content of `run.json` on which the caller decided that the service does not run."""
        self.command = command
        self.environment = environment
        """`NAME=value` each."""

    def file(self, name: str) -> bytes:
        """Path of a file in the service's folder."""
        return self.folder + b"/" + os.fsencode(name)

    def effect_file(self, kind: str) -> bytes:
        """Path of a file of this effect key."""
        return self.folder + b"/effects/" + self.effect_key + b"." + os.fsencode(kind)


def encode_spec(spec: Spec) -> bytes:
    """Write a spec as fields ended by NUL, which no argument, variable or path can hold. Raises ValueError."""
    fields = [spec.folder, spec.service, spec.effect_key, spec.directory, spec.previous]
    for many in (spec.command, spec.environment):
        fields.append(b"%d" % len(many))
        fields.extend(many)
    if any(b"\0" in field for field in fields):
        raise ValueError("a command, path or variable holds a NUL byte, which no process can be given; remove it")
    return b"\0".join([*fields, _SPEC_END])


def decode_spec(data: bytes) -> Spec:
    """Read what `encode_spec` wrote. Raises BrokenSpec when it is not whole."""
    fields = data.split(b"\0")
    if fields.pop() != _SPEC_END or len(fields) < 7:
        raise BrokenSpec
    single, rest = fields[:5], fields[5:]
    lists: list[list[bytes]] = []
    for _ in range(2):
        count = int(rest.pop(0))
        lists.append(rest[:count])
        rest = rest[count:]
    folder, service, effect_key, directory, previous = single
    command, environment = lists
    return Spec(folder, service, effect_key, directory, previous, command, environment)


def quote(text: str) -> str:
    """A JSON string."""
    escaped = (
        "\\" + letter if letter in '"\\' else f"\\u{ord(letter):04x}" if letter < " " else letter for letter in text
    )
    return '"' + "".join(escaped) + '"'


def to_json(fields: dict[str, "str | int | list[str] | None"]) -> bytes:
    """A flat JSON object."""
    parts: list[str] = []
    for name, value in fields.items():
        if isinstance(value, list):
            written = "[" + ",".join(quote(item) for item in value) + "]"
        elif isinstance(value, str):
            written = quote(value)
        else:
            written = "null" if value is None else str(value)
        parts.append(quote(name) + ":" + written)
    return ("{" + ",".join(parts) + "}\n").encode("utf-8", "replace")


def write_whole(path: bytes, content: bytes) -> None:
    """Write a private file so that a reader sees the old or the new content, never a part."""
    temporary = path + b".%d.tmp" % os.getpid()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)
    os.rename(temporary, path)  # noqa: PTH104 - pathlib would double the start


def read_whole(path: bytes) -> bytes:
    """Content of a small file; empty when there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        parts: list[bytes] = []
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat. The command's name before it may hold spaces and brackets."""
    return int(read_whole(b"/proc/%d/stat" % pid).rpartition(b")")[2].split()[19])


def timestamp() -> str:
    """Now, in UTC, to the microsecond."""
    now = time.time_ns() // 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000)) + f".{now % 1_000_000:06d}Z"


def note_start(spec: Spec, when: str, pid: int) -> None:
    """Add a line to `starts.log`, of which the newest half is kept when it grows too long."""
    path = spec.file("starts.log")
    line = os.fsencode(when) + b" %d " % pid + spec.effect_key + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
    if size > _STARTS_LIMIT:
        write_whole(path, read_whole(path)[-_STARTS_LIMIT // 2 :].partition(b"\n")[2])


def record_start(spec: Spec, log_offset: int) -> None:
    """Write down that this very process is the service, before it becomes it.

    The effect's own record comes first: once it stands, the key is used, whatever happens after.
    """
    pid, shim = os.getpid(), os.getppid()
    when = timestamp()
    record = to_json(
        {
            "pid": pid,
            "start_ticks": start_ticks(pid),
            "effect_key": os.fsdecode(spec.effect_key),
            "command": [part.decode("utf-8", "replace") for part in spec.command],
            "started_at": when,
            "boot_id": read_whole(b"/proc/sys/kernel/random/boot_id").decode().strip(),
            "log_offset": log_offset,
            "shim_pid": shim,
            "shim_start_ticks": start_ticks(shim),
        }
    )
    write_whole(spec.effect_file("start.json"), record)
    write_whole(spec.file("run.json"), record)
    note_start(spec, when, pid)
    now = time.time_ns()
    os.utime(spec.file(".."), ns=(now, now))


def record_exit(spec: Spec, pid: int, status: int) -> None:
    """Write down how the process ended. `status`: as `waitpid` gives it."""
    record = to_json(
        {
            "pid": pid,
            "effect_key": os.fsdecode(spec.effect_key),
            "exit_code": None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "ended_at": timestamp(),
            "ended_ticks": int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")),
        }
    )
    write_whole(spec.effect_file("exit.json"), record)


def refusal(spec: Spec) -> str | None:
    """Why nothing may be started; to be asked under the lock."""
    if read_whole(spec.effect_file("start.json")):
        return DUPLICATE
    if read_whole(spec.file("run.json")) != spec.previous:
        return CHANGED
    return None


def take_lock(spec: Spec) -> int:
    """Wait for the service's lock. It is held by the descriptor and all its copies, and lost with the last one."""
    lock = os.open(spec.file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def reset_signals() -> None:
    """Undo what Python and the worker ignore, catch or block: `exec` would hand it on."""
    for number in _signal.valid_signals():
        if number not in (_signal.SIGKILL, _signal.SIGSTOP):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def answer(descriptor: int, line: str) -> None:
    """Tell the adapter. It may be gone, which changes nothing here."""
    try:
        os.write(descriptor, line.encode("utf-8", "replace") + b"\n")
    except OSError:
        return


def become_service(spec: Spec, reply: int) -> None:
    """In the new process: record the start, then `exec`. Does not return."""
    try:
        os.setsid()
        log = os.open(spec.file("output.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        discarded = int(read_whole(spec.file("output.discarded")) or 0)
        record_start(spec, discarded + os.fstat(log).st_size)
    except OSError as error:
        answer(reply, f"{FAILED} nothing was started: {error.strerror}: {spec.folder!r}")
        os._exit(1)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.chdir(spec.directory)
        answer(reply, STARTED)
        reset_signals()
        environment = dict(entry.split(b"=", 1) for entry in spec.environment)
        os.execvpe(spec.command[0], spec.command, environment)  # noqa: S606
    except OSError as error:
        what = os.fsdecode(error.filename or spec.command[0])
        message = f"exec failed: {error.strerror}: {what!r}"
        os.write(2, message.encode("utf-8", "replace") + b"\n")
        write_whole(spec.effect_file("error"), message.encode("utf-8", "replace"))
        answer(reply, f"{FAILED} {message}")
        os._exit(EXEC_FAILED)


def watch(spec: Spec, pid: int) -> None:
    """Wait for the service's end and write it down."""
    _, status = os.waitpid(pid, 0)
    record_exit(spec, pid, status)


def main() -> None:
    """Read the spec, start the service unless that was done already, and stay until it ends."""
    parts: list[bytes] = []
    while part := os.read(0, 1 << 20):
        parts.append(part)
    spec = decode_spec(b"".join(parts))
    null = os.open("/dev/null", os.O_RDWR)
    reply = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    if os.fork():
        os._exit(0)
    os.setsid()
    # A service ends when it is told so itself; its shim then ends by itself.
    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, _signal.SIG_IGN)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    os.chdir("/")
    lock = take_lock(spec)
    if why := refusal(spec):
        answer(reply, why)
        return
    pid = os.fork()
    if pid == 0:
        become_service(spec, reply)
    os.close(lock)
    os.close(reply)
    watch(spec, pid)


if __name__ == "__main__":
    try:
        main()
    except BrokenSpec:
        sys.exit(1)
