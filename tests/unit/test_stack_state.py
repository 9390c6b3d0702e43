"""What others are told of a running stack, and that there is one on a folder."""

import os
import stat
from pathlib import Path

import pytest

from brainops.config.paths import StatePaths
from brainops.errors import ConflictError
from workers.stack.state import StackInfo, StackLock, lock_holder, start_ticks


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path / "state")


def info(paths: StatePaths, pid: int, ticks: int) -> StackInfo:
    return StackInfo(
        pid=pid,
        start_ticks=ticks,
        temporal_address="127.0.0.1:7233",
        temporal_embedded=True,
        ui_url="http://127.0.0.1:8233",
        database_url="postgresql://app:secret@/brainops",
        api_url="http://127.0.0.1:8420",
        api_socket=paths.api_socket,
        config_path=None,
        state_folder=paths.root,
    )


def ticks_of_this_process() -> int:
    ticks = start_ticks(os.getpid())
    assert ticks
    return ticks


def test_what_is_written_is_read_and_is_for_its_owner_only(paths: StatePaths) -> None:
    paths.root.mkdir()
    written = info(paths, os.getpid(), ticks_of_this_process())
    written.write(paths)
    assert StackInfo.read(paths) == written
    assert stat.S_IMODE(paths.stack_file.stat().st_mode) == 0o600


def test_file_that_a_killed_stack_left_tells_of_none(paths: StatePaths) -> None:
    paths.root.mkdir()
    info(paths, os.getpid(), ticks_of_this_process() - 1).write(paths)
    assert StackInfo.read(paths) is None


@pytest.mark.parametrize("content", [None, "", "{", '{"pid": 1}'])
def test_no_file_or_a_broken_one_tells_of_no_stack(paths: StatePaths, content: str | None) -> None:
    paths.root.mkdir()
    if content is not None:
        paths.stack_file.write_text(content)
    assert StackInfo.read(paths) is None


def test_second_stack_is_refused_with_the_pid_of_the_first(paths: StatePaths) -> None:
    first = StackLock(paths)
    first.acquire()
    try:
        assert lock_holder(paths) == os.getpid()
        with pytest.raises(ConflictError, match=rf"pid {os.getpid()}"):
            StackLock(paths).acquire()
    finally:
        first.release()


def test_released_folder_can_be_taken_and_names_nobody(paths: StatePaths) -> None:
    assert lock_holder(paths) is None
    for _ in range(2):
        lock = StackLock(paths)
        lock.acquire()
        info(paths, os.getpid(), ticks_of_this_process()).write(paths)
        lock.release()
        lock.release()
        assert lock_holder(paths) is None
        assert not paths.stack_file.exists()


def test_process_that_is_gone_has_no_start_time() -> None:
    assert start_ticks(2**22 + 1) is None
