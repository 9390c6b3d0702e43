"""Where the Temporal server's binary is found."""

from pathlib import Path

import pytest

from brainops.errors import SetupError
from workers.stack import temporal_binary
from workers.stack.deploy_files import deploy_folder
from workers.stack.temporal_sources import go_version


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty PATH folder `bin` and an empty cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_temporal_on_path_comes_before_the_cache(machine: Path) -> None:
    executable(temporal_binary.cached_path(), "exit 0")
    on_path = executable(machine / "bin" / "temporal", "exit 0")
    assert temporal_binary.find() == on_path


def test_temporal_on_path_that_does_not_run_is_passed_over(machine: Path) -> None:
    executable(machine / "bin" / "temporal", "exit 1")
    cached = executable(temporal_binary.cached_path(), "exit 0")
    assert temporal_binary.find() == cached


@pytest.mark.usefixtures("machine")
def test_nothing_is_found_where_nothing_is() -> None:
    assert temporal_binary.find() is None


def test_cache_stands_in_the_folder_for_caches(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert temporal_binary.cache_folder() == machine / "cache" / "brainops"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(machine))
    assert temporal_binary.cache_folder() == machine / ".cache" / "brainops"


def test_another_pinned_module_has_another_name_in_the_cache(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = temporal_binary.cached_path()
    other = machine / "module"
    other.mkdir()
    (other / "go.mod").write_text("module other")
    (other / "go.sum").write_text("")

    def other_module(_name: str) -> Path:
        return other

    monkeypatch.setattr(temporal_binary, "deploy_folder", other_module)
    assert temporal_binary.cached_path() != before


def test_binary_in_the_cache_is_taken_without_a_word(machine: Path) -> None:
    cached = executable(temporal_binary.cached_path(), "exit 0")
    said: list[str] = []
    assert temporal_binary.find_or_install(said.append) == cached
    assert said == []


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 linux/arm64", (1, 27, 0)),
        ("go version go1.26rc1 darwin/arm64", (1, 26, 0)),
        ("go: cannot find GOROOT", None),
        ("", None),
    ],
)
def test_version_of_go_is_read(text: str, version: tuple[int, ...] | None) -> None:
    assert go_version(text) == version


def test_pinned_module_is_found_in_the_clone() -> None:
    assert (deploy_folder("temporal") / "go.sum").is_file()


def test_missing_deploy_folder_is_named() -> None:
    with pytest.raises(SetupError, match="lacks deploy/nothing"):
        deploy_folder("nothing")
