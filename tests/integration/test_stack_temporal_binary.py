"""Installing the Temporal server's binary, by real processes; the network's edge and Go are stood in for.

`HTTPS_PROXY` names a port where nobody listens, so that every download fails at once and by itself.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from brainops.errors import SetupError
from workers.stack import temporal_binary

GO = """\
case "$1" in
version) echo "go version go{version} linux/amd64" ;;
env) ;;
build)
    echo "go: downloading example.com/module v1.0.0" >&2
    echo build >> "{log}"
    sleep 0.3
    {outcome}
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\nexit 0\\n' > "$2"
    chmod 755 "$2" ;;
esac
"""


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without the internet, with an empty cache and no Go."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_TOOL_DIR", str(tmp_path / "uv-tools"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path


def with_go(machine: Path, version: str = "1.26.4", outcome: str = "") -> Path:
    """Put a `go` on PATH; returns the file that gets a line for each build."""
    log = machine / "builds"
    go = machine / "bin" / "go"
    go.parent.mkdir()
    go.write_text("#!/bin/sh\n" + GO.format(version=version, log=log, outcome=outcome))
    go.chmod(0o755)
    return log


def test_failed_download_is_followed_by_a_build_into_the_cache(offline: Path) -> None:
    with_go(offline)
    said: list[str] = []
    binary = temporal_binary.find_or_install(said.append)
    assert binary == temporal_binary.cached_path()
    assert temporal_binary.runs(binary)
    assert said[0] == "fetching the Temporal server with the SDK's download"
    assert "building the Temporal server" in said[1]
    assert [file.name for file in binary.parent.iterdir() if file.name.startswith("installing-")] == []


@pytest.mark.parametrize(
    ("version", "outcome", "why"),
    [
        ("1.26.3", "", "the SDK's download: .*failed to download"),
        ("1.26.4", "echo 'no space left on device'; exit 1", "ended with 1: .*no space left on device"),
    ],
)
def test_where_no_way_works_the_error_names_them_all(offline: Path, version: str, outcome: str, why: str) -> None:
    with_go(offline, version, outcome)
    with pytest.raises(SetupError, match=f"(?s){why}") as raised:
        temporal_binary.find_or_install(lambda _line: None)
    for way in ("on PATH", "cache", "SDK's download", "a build with Go", "TEMPORAL_ADDRESS"):
        assert way in str(raised.value)


def test_two_processes_that_need_it_build_it_once(offline: Path) -> None:
    builds = with_go(offline)
    command = [sys.executable, "-m", "workers.stack.temporal_binary"]
    abandoned = temporal_binary.cached_path().parent / "installing-abandoned"
    abandoned.mkdir(parents=True)
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said == [str(temporal_binary.cached_path())] * 2
    assert builds.read_text().splitlines() == ["build"]
    assert not abandoned.exists()
