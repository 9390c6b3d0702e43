"""Units that the file names and systemd does not know: each with its line and what to do."""

import os
from pathlib import Path

import pytest
from systemd_stand_in import StandIn

from brainops.config.load import find_mistakes

FILE = """\
services:
  shop:
    run:
      kind: systemd
      unit: shop.service
  gone:
    run:
      kind: systemd
      unit: gone.service
  masked:
    run:
      kind: systemd
      unit: masked.service
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "brainops.yaml"
    path.write_text(FILE)
    return path


def test_units_that_cannot_be_started_are_named(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = StandIn(tmp_path / "systemd")
    systemd.install()
    systemd.add("shop.service", ["shop"])
    systemd.add("masked.service", ["masked"], load="masked")
    monkeypatch.setenv("PATH", f"{systemd.commands}:{os.environ['PATH']}")
    gone, masked = find_mistakes(file)
    assert gone.line == 9
    assert "systemd knows no unit 'gone.service'" in str(gone)
    assert "list-unit-files" in str(gone)
    assert masked.line == 13
    assert "unmask masked.service" in str(masked)
    assert systemd.asked("show") == 1


def test_a_machine_without_systemd_is_named(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    mistakes = find_mistakes(file)
    assert [mistake.line for mistake in mistakes] == [5, 9, 13]
    assert "another kind of run" in str(mistakes[0])
