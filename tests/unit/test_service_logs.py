"""The log of a service: the tail since its start, across rotations, bounded."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainops.services import logs, procfs
from brainops.services.records import Run, ServiceFiles


class Writer:
    """Writes as a service does: appending to the file it once opened."""

    def __init__(self, folder: Path) -> None:
        self.files = ServiceFiles(folder)
        self.files.prepare()
        self._log = self.files.log.open("ab", buffering=0)
        self.written = b""

    def write(self, data: bytes) -> None:
        self._log.write(data)
        self.written += data

    def start(self) -> None:
        """Note that a new process begins to write here."""
        run = Run.model_validate(
            {
                "pid": 1,
                "start_ticks": 1,
                "effect_key": "key",
                "command": ("run",),
                "started_at": 0,
                "boot_id": procfs.boot_id(),
                "log_offset": len(self.written),
                "shim_pid": 1,
                "shim_start_ticks": 1,
            }
        )
        self.files.run_file.unlink(missing_ok=True)
        self.files.run_file.write_text(run.model_dump_json())

    def close(self) -> None:
        self._log.close()


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / "web")


def test_nothing_was_written_yet(tmp_path: Path) -> None:
    assert logs.tail(ServiceFiles(tmp_path), 100) == b""
    assert logs.rotate(ServiceFiles(tmp_path)) is False


def test_the_tail_begins_at_the_last_start(writer: Writer) -> None:
    writer.write(b"old\n")
    writer.start()
    assert logs.tail(writer.files, 100) == b""
    writer.write(b"new\n")
    assert logs.tail(writer.files, 100) == b"new\n"
    assert logs.tail(writer.files, 2) == b"w\n"
    assert logs.tail(writer.files, 100, since_start=False) == b"old\nnew\n"
    writer.close()


def test_rotation_keeps_the_newest_and_the_service_writes_on(writer: Writer) -> None:
    writer.start()
    writer.write(b"a" * 50 + b"b" * 10)
    assert logs.rotate(writer.files, 60) is False
    assert logs.rotate(writer.files, 10) is True
    assert writer.files.log.stat().st_size == 0
    assert writer.files.rotated_log.read_bytes() == b"b" * 10
    writer.write(b"c")
    assert logs.tail(writer.files, 5) == b"bbbbc"
    assert writer.files.rotated_log.stat().st_mode & 0o777 == 0o600
    writer.close()


def test_a_log_that_somebody_else_cut_is_shown_as_it_stands(writer: Writer) -> None:
    writer.write(b"x" * 100)
    writer.start()
    writer.files.log.write_bytes(b"left")
    assert logs.tail(writer.files, 100) == b"left"
    writer.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.binary(min_size=1, max_size=30), st.sampled_from(["start", "rotate"])), max_size=25),
    st.integers(1, 200),
)
def test_a_tail_is_always_the_end_of_what_was_written_since_the_start(
    tmp_path_factory: pytest.TempPathFactory, steps: list[bytes | str], wanted: int
) -> None:
    writer = Writer(tmp_path_factory.mktemp("web"))
    begun = 0
    kept_from = 0
    for step in steps:
        if isinstance(step, bytes):
            writer.write(step)
        elif step == "start":
            begun = len(writer.written)
            writer.start()
        elif logs.rotate(writer.files, 40):
            kept_from = max(0, len(writer.written) - 40)
    tail = logs.tail(writer.files, wanted)
    assert writer.written[begun:].endswith(tail)
    assert len(tail) == min(wanted, len(writer.written) - max(begun, kept_from))
    writer.close()
