"""Where BrainOps keeps its state."""

import os
from pathlib import Path

import pytest

from brainops.config.paths import STATE_VARIABLE, StatePaths


def test_named_folder_is_used_and_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, "here")
    assert StatePaths.default().root == Path("here").absolute()


@pytest.mark.parametrize(
    ("user", "data_home", "expected"),
    [
        (0, "/data", "/var/lib/brainops"),  # root has one place for the machine
        (1000, "/data", "/data/brainops"),
        (1000, "", "/home/mira/.local/share/brainops"),
    ],
)
def test_default_folder_follows_the_user(
    monkeypatch: pytest.MonkeyPatch, user: int, data_home: str, expected: str
) -> None:
    monkeypatch.delenv(STATE_VARIABLE, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setenv("XDG_DATA_HOME", data_home)
    monkeypatch.setenv("HOME", "/home/mira")
    assert StatePaths.default().root == Path(expected)


def test_everything_stands_in_the_folder_and_nothing_is_made(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path / "state")
    places = [paths.stack_file, paths.lock_file, paths.postgres, paths.temporal, paths.logs, paths.services]
    places += [paths.objects, paths.api_socket]
    assert len(set(places)) == len(places)
    assert {place.parent for place in places} == {paths.root}
    assert not paths.root.exists()
