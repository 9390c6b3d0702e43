"""Rotation of a log: nothing of it is lost, nothing else is touched."""

import fcntl
import gzip
import os
from pathlib import Path

import pytest

from brainops.errors import ActionError
from brainops.remedies.rotate_logs import rotate


def packed(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def test_a_log_is_compressed_and_begun_anew_for_who_holds_it_open(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"first\n")
        log.chmod(0o640)
        assert rotate(log, 3) == 6
        writer.write(b"second\n")
    assert packed(tmp_path / "api.log.1.gz") == b"first\n"
    assert log.read_bytes() == b"second\n"
    assert (tmp_path / "api.log.1.gz").stat().st_mode & 0o777 == 0o640


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    for number in range(5):
        log.write_bytes(b"%d" % number)
        rotate(log, 2)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["api.log", "api.log.1.gz", "api.log.2.gz"]
    assert [packed(tmp_path / name) for name in kept[1:]] == [b"4", b"3"]


def test_an_empty_log_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "api.log").touch()
    assert rotate(tmp_path / "api.log", 2) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["api.log"]


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "nothing"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    log, other = tmp_path / "api.log", tmp_path / "other"
    other.write_bytes(b"precious")
    if kind == "link":
        log.symlink_to(other)
    elif kind == "folder":
        log.mkdir()
    elif kind == "pipe":
        os.mkfifo(log)
    with pytest.raises(ActionError, match=r"api\.log"):
        rotate(log, 2)
    assert other.read_bytes() == b"precious"


def test_a_rotation_that_fails_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_bytes(b"first")
    (tmp_path / "api.log.1.gz").mkdir()
    (tmp_path / "api.log.1.gz" / "in-the-way").touch()
    with pytest.raises(ActionError, match="as it was"):
        rotate(log, 1)
    assert log.read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_a_rotation_that_died_left_is_removed_by_the_next(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_bytes(b"first")
    (tmp_path / ".api.log.brainops.gz").write_bytes(b"half of it")
    rotate(log, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["api.log", "api.log.1.gz"]
    assert packed(tmp_path / "api.log.1.gz") == b"first"


def test_two_rotations_at_once_do_not_touch_each_other(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_bytes(b"first")
    with log.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ActionError, match="is being rotated already"):
            rotate(log, 1)
    assert log.read_bytes() == b"first"
