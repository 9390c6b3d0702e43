"""The shim's own small codecs and files, beside the ones that it stands in for."""

import fcntl
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from brainops.contracts.service import ExitRecord
from brainops.services import procfs, shim
from brainops.services.records import Run

field = st.binary(max_size=20).filter(lambda data: b"\0" not in data)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


def make_spec(folder: Path, effect_key: str = "key-1", previous: bytes = b"") -> shim.Spec:
    (folder / "effects").mkdir(exist_ok=True)
    return shim.Spec(os.fsencode(folder), b"web", effect_key.encode(), b"/", previous, [b"run", b"\xff"], [b"A=1"])


@given(st.lists(field, min_size=5, max_size=5), st.lists(field), st.lists(field))
def test_a_spec_is_read_as_it_was_written(single: list[bytes], command: list[bytes], environment: list[bytes]) -> None:
    folder, service, effect_key, directory, previous = single
    spec = shim.Spec(folder, service, effect_key, directory, previous, command, environment)
    assert vars(shim.decode_spec(shim.encode_spec(spec))) == vars(spec)


@given(st.data())
def test_a_spec_that_was_cut_is_refused(data: st.DataObject) -> None:
    whole = shim.encode_spec(shim.Spec(b"folder", b"web", b"key", b"/", b"{}", [b"run"], [b"A=1"]))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(shim.BrokenSpec):
        shim.decode_spec(whole[:cut])


@given(st.dictionaries(texts, st.none() | texts | st.integers() | st.lists(texts, max_size=3), min_size=1))
def test_its_json_is_json(fields: dict[str, str | int | list[str] | None]) -> None:
    assert json.loads(shim.to_json(fields)) == fields


def test_its_clock_is_utc() -> None:
    read = TypeAdapter(datetime).validate_python(shim.timestamp())
    assert abs(read - datetime.now(UTC)) < timedelta(seconds=1)


def test_its_start_record_is_a_run_and_its_exit_record_an_exit(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    before = tmp_path.parent.stat().st_mtime_ns
    shim.record_start(spec, 17)
    assert tmp_path.parent.stat().st_mtime_ns > before
    run = Run.model_validate_json((tmp_path / "run.json").read_bytes())
    own = procfs.stat(os.getpid())
    assert own is not None
    assert (run.pid, run.start_ticks, run.log_offset) == (os.getpid(), own.start_ticks, 17)
    assert (run.boot_id, run.shim_pid) == (procfs.boot_id(), os.getppid())
    assert run.command == ("run", "\ufffd")
    assert (tmp_path / "effects" / "key-1.start.json").read_bytes() == (tmp_path / "run.json").read_bytes()
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o600

    shim.record_exit(spec, 4711, 3 << 8)
    ended = ExitRecord.model_validate_json((tmp_path / "effects" / "key-1.exit.json").read_bytes())
    assert (ended.pid, ended.exit_code, ended.signal) == (4711, 3, None)
    shim.record_exit(spec, 4711, 9)
    ended = ExitRecord.model_validate_json((tmp_path / "effects" / "key-1.exit.json").read_bytes())
    assert (ended.exit_code, ended.signal) == (None, 9)


def test_a_used_key_is_a_duplicate_and_another_start_in_between_a_change(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    assert shim.refusal(spec) is None
    shim.record_start(spec, 0)
    assert shim.refusal(spec) == shim.DUPLICATE
    assert shim.refusal(make_spec(tmp_path, "key-2")) == shim.CHANGED
    seen = (tmp_path / "run.json").read_bytes()
    assert shim.refusal(make_spec(tmp_path, "key-2", previous=seen)) is None


def test_an_empty_record_as_a_power_cut_leaves_uses_no_key(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    (tmp_path / "effects" / "key-1.start.json").touch()
    assert shim.refusal(spec) is None


def test_the_list_of_starts_is_bounded(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    starts = tmp_path / "starts.log"
    starts.write_bytes(b"2026-01-01T00:00:00.000000Z 1 key\n" * 8000)
    shim.note_start(spec, "2026-01-02T00:00:00.000000Z", 2)
    assert starts.stat().st_size <= 128 * 1024
    assert starts.read_text().splitlines()[-1] == "2026-01-02T00:00:00.000000Z 2 key-1"
    assert starts.read_text().startswith("2026-01-01")


def test_the_lock_is_held_by_its_descriptor(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    held = shim.take_lock(spec)
    with (tmp_path / "lock").open("w") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(held)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_reader_that_is_gone_does_not_matter() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    shim.answer(writer, "started")
    os.close(writer)
