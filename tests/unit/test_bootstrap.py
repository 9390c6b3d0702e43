"""The start of everything on a machine that has only Python: `tools/bootstrap.py`."""

import hashlib
import os
import re
import zipfile
from pathlib import Path

import pytest

from tools import bootstrap

PLATFORM = bootstrap.platform_suffixes()[0].replace(r"\d+", "1")
"""A platform tag that fits this machine."""


@pytest.fixture
def nothing_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))


def program(path: Path, prints: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)
    return path


def project(folder: Path, *, tag: str = PLATFORM, sha256: str | None = None) -> Path:
    """A project whose lock names a uv wheel on this disk."""
    wheel = folder / f"uv-9.9.9-py3-none-{tag}.whl"
    script = "#!/bin/sh\necho 'uv 9.9.9'\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-9.9.9.data/scripts/uv", script)
        archive.writestr("uv-9.9.9.data/scripts/uvx", script)
        archive.writestr("uv-9.9.9.data/scripts/../../escaped", script)
        archive.writestr("uv/__init__.py", "")
    digest = sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "uv.lock").write_text(
        f'[[package]]\nname = "uv"\nversion = "9.9.9"\n'
        f'wheels = [{{ url = "{wheel.as_uri()}", hash = "sha256:{digest}" }}]\n'
    )
    return folder


@pytest.mark.usefixtures("nothing_on_path")
def test_missing_uv_is_unpacked_from_the_locked_wheel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main(project(tmp_path)) == 0
    uv = tmp_path / ".tools" / "uv"
    assert capsys.readouterr().out.strip() == str(uv)
    assert os.access(uv, os.X_OK)
    assert sorted(file.name for file in uv.parent.iterdir()) == ["uv", "uvx"]


@pytest.mark.usefixtures("nothing_on_path")
def test_second_run_takes_what_the_first_has_unpacked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap.main(project(tmp_path))
    (tmp_path / "uv.lock").unlink()
    assert bootstrap.main(tmp_path) == 0
    assert capsys.readouterr().err.count("fetching") == 1


def test_uv_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = program(tmp_path / "bin" / "uv", "uv 9.0.0")
    program(tmp_path / ".tools" / "uv", "uv 9.9.9")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert bootstrap.find(tmp_path / ".tools") == on_path


@pytest.mark.parametrize("prints", ["uv 0.4.30", "pyenv: uv: command not found"])
def test_uv_that_is_too_old_or_a_broken_shim_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str
) -> None:
    on_path = program(tmp_path / "bin" / "uv", prints)
    ours = program(tmp_path / ".tools" / "uv", "uv 9.9.9")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert bootstrap.find(ours.parent) == ours


@pytest.mark.usefixtures("nothing_on_path")
def test_wheel_of_another_content_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main(project(tmp_path, sha256="0" * 64)) == 1
    assert "has sha256" in capsys.readouterr().err
    assert not (tmp_path / ".tools" / "uv").exists()


@pytest.mark.usefixtures("nothing_on_path")
def test_failed_download_names_the_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    next(project(tmp_path).glob("*.whl")).unlink()
    assert bootstrap.main(tmp_path) == 1
    said = capsys.readouterr().err
    assert "cannot be fetched" in said
    assert "on PATH" in said
    assert "HTTPS_PROXY" in said


@pytest.mark.usefixtures("nothing_on_path")
def test_platform_without_a_wheel_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main(project(tmp_path, tag="win_amd64")) == 1
    assert "names no uv wheel for" in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_on_path")
def test_unreadable_lock_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "uv.lock").write_text("[[package")
    assert bootstrap.main(tmp_path) == 1
    assert "uv.lock cannot be read" in capsys.readouterr().err


def test_the_projects_lock_names_a_wheel_for_each_platform_we_support() -> None:
    for machine in ("x86_64", "aarch64"):
        for libc in ("manylinux", "musllinux"):
            url, sha256 = bootstrap.wheel_for(bootstrap.PROJECT / "uv.lock", [rf"{libc}_\d+_\d+_{machine}"])
            assert machine in url
            assert re.fullmatch("[0-9a-f]{64}", sha256)
