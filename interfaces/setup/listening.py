"""Who listens on this machine's TCP ports: the processes of services, without the system's own and BrainOps'."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from brainops.config.paths import StatePaths
from brainops.services import procfs
from interfaces.setup.found import SeenProcess, as_name
from workers.stack.state import StackInfo

MOST_PROCESSES = 200

_OF_THE_SYSTEM = frozenset(
    (
        "systemd", "systemd-resolve", "systemd-resolved", "systemd-network", "init", "sshd", "sshd-session", "ssh",
        "dnsmasq", "cupsd", "cups-browsed", "chronyd", "ntpd", "rpcbind", "rpc.statd", "rpc.mountd", "avahi-daemon",
        "containerd", "dockerd", "docker-proxy", "rootlessport", "conmon", "networkmanager", "master", "exim4",
        "snapd", "xinetd", "tailscaled", "unbound", "named", "kubelet", "wpa_supplicant",
    )
)  # fmt: skip
_INTERPRETERS = ("python", "node", "ruby", "java", "perl", "php", "bash", "sh", "deno", "bun")
_SAYS_NOTHING = frozenset(
    ("app", "main", "server", "index", "manage", "wsgi", "asgi", "run", "start", "http-server", "http", "service",
     "gunicorn", "uvicorn", "flask", "dist", "cli", "")
)  # fmt: skip
_NO_FOLDER_OF_A_SERVICE = frozenset(("", "tmp", "home", "root", "var", "opt", "srv", "src", "app"))
_OF_THE_SESSION = frozenset(
    ("PATH", "HOME", "LANG", "LANGUAGE", "USER", "LOGNAME", "TZ", "SHELL", "TERM", "COLORTERM", "PWD", "OLDPWD",
     "SHLVL", "_", "DISPLAY", "EDITOR", "VISUAL", "PAGER", "HOSTNAME", "MAIL", "LS_COLORS", "TMPDIR", "PS1",
     "INVOCATION_ID", "JOURNAL_STREAM", "COLUMNS", "LINES", "NO_COLOR", "DEBIAN_FRONTEND")
)  # fmt: skip
_PARTS_OF_A_STACK = frozenset(("workers.main", "interfaces.api.main"))
_SESSION_PREFIXES = ("LC_", "XDG_", "SSH_", "DBUS_", "LESS", "GPG_", "BRAINOPS_", "TEMPORAL_", "PYTEST_", "SUDO_")


@dataclass(frozen=True)
class ListeningProcess:
    """A process with the ports that it listens on."""

    process: SeenProcess
    program: str
    """Name of its program, such as `nginx`."""
    addresses: Mapping[int, str]
    """Port → the address that it is bound to."""
    unit: str = ""
    """The systemd unit that it belongs to; empty for none."""
    contained: bool = False
    """It runs in a container."""

    @property
    def ports(self) -> tuple[int, ...]:
        """Smallest first."""
        return tuple(sorted(self.addresses))

    @property
    def name(self) -> str:
        """A name for the service: of its script, else of its folder, else of its program."""
        return _name(self.process.command, self.process.directory, self.program)


def listening(paths: StatePaths) -> tuple[list[ListeningProcess], int]:
    """Processes that listen, oldest first, and the number of ports whose holder this user may not see.

    `paths`: the state folder whose stack is BrainOps itself.
    """
    sockets: dict[int, dict[int, str]] = defaultdict(dict)
    held: dict[int, set[int]] = defaultdict(set)
    hidden: set[int] = set()
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        address, port = connection.laddr.ip, connection.laddr.port
        if connection.pid is None:
            hidden.add(port)
        else:
            sockets[connection.pid].setdefault(port, address)
            held[port].add(connection.pid)
    own = _own_processes(paths)
    found: dict[int, ListeningProcess] = {}
    for pid in sorted(set(sockets) - own, key=_age)[:MOST_PROCESSES]:
        # a socket can be shared with children that were forked later: the oldest is the service
        ports = {port: address for port, address in sockets[pid].items() if min(held[port], key=_age) == pid}
        seen = _look(pid, ports) if ports else None
        if seen is not None:
            found[pid] = seen
    return list(found.values()), len(hidden - set(held))


def probable_variables(names: Iterable[str]) -> tuple[str, ...]:
    """Those of a process's variables that may matter to it, without those that every session has."""
    return tuple(
        sorted(name for name in names if name not in _OF_THE_SESSION and not name.startswith(_SESSION_PREFIXES))
    )


def variables_of(pid: int) -> dict[str, str]:
    """The variables that a process was started with; none where they may not be read."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()[: 1 << 20]
    except OSError:
        return {}
    pairs = (entry.partition("=") for entry in raw.decode("utf-8", "replace").split("\0"))
    return {name: value for name, sign, value in pairs if sign and name}


def _look(pid: int, ports: Mapping[int, str]) -> ListeningProcess | None:
    stat = procfs.stat(pid)
    try:
        process = psutil.Process(pid)
        command, program = tuple(process.cmdline()), process.name()
        directory = process.cwd()
    except psutil.Error:
        return None
    if stat is None or program.lower() in _OF_THE_SYSTEM:
        return None
    unit, contained = _group(pid)
    return ListeningProcess(
        SeenProcess(
            pid=pid,
            start_ticks=stat.start_ticks,
            command=command,
            directory=directory,
            variables=probable_variables(variables_of(pid)),
        ),
        program,
        ports,
        unit,
        contained,
    )


def _group(pid: int) -> tuple[str, bool]:
    """The unit that a process belongs to, by its control group, and whether that is a container's."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
        ours = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", False
    text = "\n".join(lines)
    contained = lines != ours and any(word in text for word in ("/docker/", "docker-", "libpod", "kubepods"))
    last = lines[-1].rpartition(":")[2].split("/") if lines else []
    units = [part for part in last if part.endswith(".service")]
    # a user's own session is a unit, too, and nobody's service
    unit = units[-1] if units and not units[-1].startswith("user@") else ""
    return unit, contained


def _own_processes(paths: StatePaths) -> set[int]:
    """This process, the stack of the state folder, other stacks, and what any of them has started."""
    processes = procfs.everything()
    roots: set[int] = set()
    try:
        info = StackInfo.read(paths)
    except OSError:
        info = None
    if info is not None:
        roots.add(info.pid)
    for pid, process in processes.items():
        words = procfs.command_line(pid).split(" ")
        if "up" in words and any(Path(word).name == "brainops" for word in words[:3]):
            roots.add(pid)
        if "-m" in words and not _PARTS_OF_A_STACK.isdisjoint(words):
            roots.add(process.parent)
        if procfs.marks(pid) is not None:
            roots.add(pid)
    family = {child.pid for root in roots for child in procfs.descendants(root, processes)}
    return {os.getpid()} | roots | family


def _age(pid: int) -> tuple[int, int]:
    """Older processes come first."""
    stat = procfs.stat(pid)
    return (stat.start_ticks if stat is not None else 1 << 62, pid)


def _name(command: tuple[str, ...], directory: str, program: str) -> str:
    name = as_name(_script(command) or program, "service")
    folder = as_name(Path(directory).name, "")
    if name in _SAYS_NOTHING and folder not in _NO_FOLDER_OF_A_SERVICE:
        return folder
    return name


def _script(command: tuple[str, ...]) -> str:
    """`shop` of `python3 -m shop.web`, `python shop.py`, `java -jar shop.jar`; empty where no interpreter runs it."""
    if not command or not Path(command[0]).name.lower().startswith(_INTERPRETERS):
        return ""
    rest = list(command[1:])
    while rest:
        word = rest.pop(0)
        if word in ("-m", "-jar") and rest:
            return Path(rest[0]).name.removesuffix(".jar").replace(".", "-")
        if word in ("-c", "-e"):
            return ""
        if not word.startswith("-"):
            return Path(word).stem
    return ""
