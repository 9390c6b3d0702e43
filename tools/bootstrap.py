"""Print the path of a `uv` that works, getting one into the project's `.tools/` if this machine has none.

Run by `make` with nothing but a Python: a bare Debian has neither pip nor venv. Only the standard library is
imported, and what is fetched is the wheel that `uv.lock` names for this platform, checked by its sha256.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

OLDEST_PYTHON = (3, 11)
OLDEST_UV = (0, 5)  # the first that knows dependency groups for certain
PROJECT = Path(__file__).resolve().parent.parent
DOWNLOAD_TIMEOUT_SECONDS = 60
WAYS = (
    "Ways to go on: install uv by any of its installers, or by this system's package manager, so that `uv` is on "
    "PATH; or put its binary at .tools/uv; or set HTTPS_PROXY if this machine reaches the internet through a proxy."
)


class BootstrapError(Exception):
    """What could not be done, and what to do instead."""


def works(uv: Path) -> bool:
    """Whether `uv` runs and is new enough. A pyenv shim without a version behind it, for one, does not run."""
    try:
        answer = subprocess.run([str(uv), "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.match(r"uv (\d+)\.(\d+)", answer.stdout)
    return answer.returncode == 0 and version is not None and tuple(map(int, version.groups())) >= OLDEST_UV


def find(tools: Path) -> Path | None:
    """The `uv` on PATH, else the one in `tools`; None when neither runs."""
    on_path = shutil.which("uv")
    candidates = [Path(on_path)] if on_path else []
    return next((uv for uv in [*candidates, tools / "uv"] if works(uv)), None)


def platform_suffixes() -> list[str]:
    """Regular expressions for the platform tags of wheels that run here, best first."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if sys.platform == "darwin":
        return [rf"macosx_\d+_\d+_{'arm64' if machine == 'aarch64' else machine}"]
    libc, _ = platform.libc_ver()
    glibc, musl = rf"manylinux_\d+_\d+_{machine}", rf"musllinux_\d+_\d+_{machine}"
    return [glibc, musl, rf"linux_{machine}"] if libc == "glibc" else [musl, rf"linux_{machine}"]


def wheel_for(lock_file: Path, suffixes: list[str]) -> tuple[str, str]:
    """URL and sha256 of the uv wheel in `lock_file` for the first platform of `suffixes` that has one."""
    import tomllib  # noqa: PLC0415 - an older Python must get as far as our message

    try:
        packages = tomllib.loads(lock_file.read_text(encoding="utf-8")).get("package", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BootstrapError(f"{lock_file.name} cannot be read: {error}. {WAYS}") from error
    wheels = [wheel for package in packages if package["name"] == "uv" for wheel in package.get("wheels", [])]
    for suffix in suffixes:
        for wheel in wheels:
            tags = wheel["url"].rsplit("/", 1)[-1].removesuffix(".whl").rsplit("-", 1)[-1].split(".")
            if any(re.fullmatch(suffix, tag) for tag in tags) and wheel["hash"].startswith("sha256:"):
                return wheel["url"], wheel["hash"].removeprefix("sha256:")
    raise BootstrapError(f"{lock_file.name} names no uv wheel for {platform.machine()} {sys.platform}. {WAYS}")


def _fetch(url: str, target: Path, context: ssl.SSLContext) -> None:
    # S310: the address is the lock file's
    with (
        urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS, context=context) as answer,  # noqa: S310
        target.open("wb") as file,
    ):
        shutil.copyfileobj(answer, file)


def download(url: str, sha256: str, target: Path) -> None:
    """Fetch `url` to `target` and check it. Raises BootstrapError, which names the ways, when either fails."""
    try:
        _fetch(url, target, ssl.create_default_context())
    except (urllib.error.URLError, OSError) as error:
        if not isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            raise BootstrapError(f"uv is not on PATH and cannot be fetched from {url}: {error}. {WAYS}") from error
        # A bare system knows no authorities. The hash below proves the content all the same.
        unverified = ssl.create_default_context()
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        try:
            _fetch(url, target, unverified)
        except (urllib.error.URLError, OSError) as second:
            raise BootstrapError(f"uv is not on PATH and cannot be fetched from {url}: {second}. {WAYS}") from second
    found = hashlib.sha256(target.read_bytes()).hexdigest()
    if found != sha256:
        raise BootstrapError(f"{url} has sha256 {found}, and uv.lock says {sha256}: it is not used. {WAYS}")


def unpack(wheel: Path, tools: Path) -> Path:
    """Put the `uv` and `uvx` of a wheel into `tools`, each at once or not at all."""
    tools.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            name = member.rsplit("/", 1)[-1]
            if ".data/scripts/" not in member or name not in {"uv", "uvx"}:
                continue
            temporary = tools / f".{name}.{os.getpid()}"
            temporary.write_bytes(archive.read(member))
            temporary.chmod(0o755)
            temporary.replace(tools / name)
    return tools / "uv"


def install(lock_file: Path, tools: Path) -> Path:
    """Get the locked uv into `tools` and return its path."""
    url, sha256 = wheel_for(lock_file, platform_suffixes())
    print(f"uv is not installed: fetching {url.rsplit('/', 1)[-1]} into {tools}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder) / "uv.whl"
        download(url, sha256, wheel)
        uv = unpack(wheel, tools)
    if not works(uv):
        raise BootstrapError(f"{uv} was unpacked and does not run on this machine. {WAYS}")
    return uv


def main(project: Path = PROJECT) -> int:
    """Print the path of uv; 1 and a sentence on stderr when there is none to be had."""
    if sys.version_info < OLDEST_PYTHON:
        print(
            f"BrainOps needs Python 3.11 or newer; {sys.executable} is {platform.python_version()}. "
            "Install a newer one, or name it: make PYTHON=python3.12",
            file=sys.stderr,
        )
        return 1
    tools = project / ".tools"
    try:
        print(find(tools) or install(project / "uv.lock", tools))
    except BootstrapError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
