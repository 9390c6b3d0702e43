"""What /proc says of ourselves and of the processes that we know."""

import os
import socket
import subprocess
from pathlib import Path

from brainops.services import procfs


def test_our_own_process_is_as_we_know_it() -> None:
    own = procfs.stat(os.getpid())
    assert own is not None
    assert (own.parent, own.group, own.session) == (os.getppid(), os.getpgid(0), os.getsid(0))
    assert own.rss_bytes > 1_000_000
    assert not own.ended
    assert not procfs.suspended(own)
    assert procfs.find(own.pid, own.start_ticks) is not None
    assert procfs.find(own.pid, own.start_ticks + 1) is None
    assert 0 <= procfs.age_seconds(own.start_ticks) < 3600
    assert "python" in procfs.command_line(own.pid)
    assert procfs.everything()[own.pid].start_ticks == own.start_ticks


def test_what_does_not_exist_is_nothing_and_no_error() -> None:
    gone = 2**22 + 1
    assert procfs.stat(gone) is None
    assert procfs.marks(gone) is None
    assert procfs.command_line(gone) == "[]"
    assert procfs.tree_rss_bytes(gone, {}) == 0


def test_a_name_with_brackets_and_spaces_is_no_trap(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "600"]) as process:
        found = procfs.stat(process.pid)
        process.kill()
    assert found is not None
    assert found.parent == os.getpid()


def test_a_zombie_has_ended_and_is_still_found() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    found = procfs.stat(process.pid)
    process.wait()
    assert found is not None
    assert (found.state, found.ended) == ("Z", True)


def test_descendants_are_found_at_every_depth() -> None:
    def process(pid: int, parent: int) -> procfs.ProcessStat:
        return procfs.ProcessStat(pid, "S", parent, pid, pid, 1, 0, 10)

    family = {pid: process(pid, parent) for pid, parent in ((1, 0), (2, 1), (3, 2), (4, 2), (5, 9))}
    assert {child.pid for child in procfs.descendants(1, family)} == {2, 3, 4}
    assert procfs.tree_rss_bytes(1, family) == 40


def test_the_marks_of_a_process_are_read() -> None:
    environment = {"BRAINOPS_SERVICE": "web", "BRAINOPS_EFFECT_KEY": "key-1", "OTHER": "x"}
    with subprocess.Popen(["sleep", "600"], env=environment) as marked, subprocess.Popen(["sleep", "600"]) as other:
        assert procfs.marks(marked.pid) == ("web", "key-1")
        assert procfs.marks(other.pid) is None
        marked.kill()
        other.kill()


def test_the_listener_of_a_port_is_found_on_both_families() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.create_server((address, 0), family=family) as server:
            port = server.getsockname()[1]
            [listener] = procfs.listeners(port)
            assert listener.pid == os.getpid()
            assert listener.service == ""
        assert procfs.listeners(port) == ()
