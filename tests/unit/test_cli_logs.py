"""`brainops logs`: bounded, escaped, redacted, and following through rotation."""

import contextlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from brainops.services.records import ServiceFiles
from interfaces.cli.logs import added_lines, last_lines
from interfaces.cli.main import app


@pytest.fixture
def files(tmp_path: Path) -> ServiceFiles:
    """A service that has printed a thousand lines."""
    folder = tmp_path / "services" / "shop"
    folder.mkdir(parents=True)
    (folder / "output.log").write_bytes(b"".join(b"line %d\n" % number for number in range(1000)))
    return ServiceFiles(folder)


@pytest.mark.parametrize("count", [0, 1, 3, 1000, 5000])
def test_the_last_lines_are_the_last_lines(files: ServiceFiles, count: int) -> None:
    expected = [b"line %d" % number for number in range(1000)][max(0, 1000 - count) :] if count else []
    assert last_lines(files, count) == expected


def test_lines_longer_than_a_block_are_counted_once(files: ServiceFiles) -> None:
    files.log.write_bytes(b"a\n" + b"x" * 300_000 + b"\n" + b"b\n")
    assert [len(line) for line in last_lines(files, 2)] == [300_000, 1]


def test_following_goes_on_after_a_cut_and_after_a_replacement(files: ServiceFiles) -> None:
    with contextlib.closing(added_lines(files.log, files.log.stat().st_size)) as following:
        with files.log.open("ab") as writer:
            writer.write(b"half")
            writer.flush()
            writer.write(b" and half\n")
        assert next(following) == b"half and half"
        files.log.write_bytes(b"cut\n")
        assert next(following) == b"cut"
        other = files.log.with_suffix(".new")
        other.write_bytes(b"replaced\n")
        other.replace(files.log)
        assert next(following) == b"replaced"


def test_output_is_escaped_and_redacted(files: ServiceFiles, tmp_path: Path) -> None:
    files.log.write_bytes(b"\x1b[2Jpassword=hunter2hunter2 \xff\xfe [bold]\n")
    result = CliRunner().invoke(app, ["--state-dir", str(tmp_path), "logs", "shop"])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert "hunter2" not in result.stdout
    assert "[bold]" in result.stdout


def test_an_unknown_service_is_answered_with_the_nearest(files: ServiceFiles, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--state-dir", str(tmp_path), "logs", "shpo"])
    assert result.exit_code == 2
    assert "did you mean shop?" in result.stderr


def test_a_service_that_was_never_started_says_so(files: ServiceFiles, tmp_path: Path) -> None:
    files.log.unlink()
    result = CliRunner().invoke(app, ["--state-dir", str(tmp_path), "logs", "shop"])
    assert result.exit_code == 2
    assert "never started" in result.stderr
