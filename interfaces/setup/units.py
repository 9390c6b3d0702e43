"""Systemd units that are somebody's services, and not the system's own."""

import shutil
import subprocess
from pathlib import Path

from interfaces.setup.found import Found, as_name, unique

ANSWER_SECONDS = 3
MOST_UNITS = 200

_OF_THE_USER = ("/etc/systemd/system/", "/usr/local/lib/systemd/", "/run/systemd/transient/")
_SERVERS = (
    "nginx", "apache2", "httpd", "caddy", "haproxy", "traefik", "envoy", "postgresql", "mysql", "mariadb", "mongod",
    "redis", "valkey", "memcached", "rabbitmq", "php", "tomcat", "jenkins", "grafana", "prometheus", "elasticsearch",
    "opensearch", "minio", "gunicorn", "uwsgi", "puma", "varnish",
)  # fmt: skip
"""Units of distributions that people watch, by the beginning of their names."""
_NEVER = ("brainops", "docker", "containerd", "ssh", "snap", "cloud-", "systemd-", "dbus", "user@", "getty", "serial-")
_PROPERTIES = ("Id", "Description", "FragmentPath", "Restart", "CanReload")


def running_units(taken: set[str]) -> tuple[list[Found], list[str]]:
    """Services for running units, and why nothing can be seen. `taken`: names that are given already."""
    program = shutil.which("systemctl")
    if program is None:
        return [], []
    listed = _run(program, "list-units", "--type=service", "--state=running", "--plain", "--no-legend", "--no-pager")
    if listed is None:
        return [], ["systemd does not answer here (systemctl list-units), so no units were looked at"]
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    wanted = [name for name in names if not name.startswith(_NEVER)][:MOST_UNITS]
    shown = _run(program, "show", "--no-pager", f"--property={','.join(_PROPERTIES)}", "--", *wanted) if wanted else ""
    if shown is None:
        return [], ["systemd does not say what its units are (systemctl show)"]
    found: list[Found] = []
    for block in shown.split("\n\n"):
        facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        unit = facts.get("Id", "")
        if unit and _is_somebodys(unit, facts.get("FragmentPath", "")):
            found.append(_service(unit, facts, taken | {one.name for one in found}))
    return found, []


def _is_somebodys(unit: str, fragment: str) -> bool:
    """Whether a person wrote the unit, or it is a server that people install to serve."""
    written = fragment.startswith(_OF_THE_USER) and not Path(fragment).is_symlink()
    return written or unit.startswith(_SERVERS)


def _service(unit: str, facts: dict[str, str], taken: set[str]) -> Found:
    restart = facts.get("Restart", "no")
    hints = (
        (f"systemd itself starts it again (Restart={restart}); BrainOps waits for that, and acts when it gives up.",)
        if restart not in ("", "no")
        else ()
    )
    run: dict[str, object] = {"kind": "systemd", "unit": unit}
    if facts.get("CanReload") == "yes":
        run["reload"] = True
    described = facts.get("Description", "")
    return Found(
        name=unique(as_name(unit.removesuffix(".service")), taken, "unit"),
        source="systemd",
        what=f"unit {unit}" + (f": {described}" if described and described != unit else ""),
        run=run,
        hints=hints,
    )


def _run(*command: str) -> str | None:
    """What a command prints; None when it fails or takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
