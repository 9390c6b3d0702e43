"""The spool of events that could not be delivered: whole events, private, bounded, oldest first."""

import stat
from pathlib import Path

import pytest

from interfaces.hooks import spool as spool_module
from interfaces.hooks.spool import Spool, folder_for, folder_for_server, own_folder, state_folder


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path / "spool"))


def test_events_come_out_in_their_order_and_are_for_their_owner_only(spool: Spool) -> None:
    names = [spool.put(body) for body in (b"one", b"two", b"three")]
    assert spool.names() == names
    assert [spool.read(name) for name in names] == [b"one", b"two", b"three"]
    file = Path(spool.folder) / names[0]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_what_was_delivered_is_gone_also_when_another_was_faster(spool: Spool) -> None:
    name = spool.put(b"{}")
    spool.remove(name)
    spool.remove(name)
    assert spool.read(name) is None
    assert spool.names() == []


def test_a_spool_that_was_never_used_is_empty(spool: Spool) -> None:
    assert spool.names() == []
    assert spool.dropped == 0


def test_the_oldest_make_room_and_are_counted(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MOST_FILES", 3)
    names = [spool.put(b"{}") for _ in range(5)]
    assert spool.names() == names[2:]
    assert spool.dropped == 2


def test_large_events_make_room_by_their_bytes(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MOST_BYTES", 100)
    spool.put(b"x" * 60)
    last = spool.put(b"y" * 60)
    assert spool.names() == [last]
    assert spool.dropped == 1


def test_what_is_broken_is_set_aside_and_bounded(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MOST_BROKEN", 2)
    name = spool.put(b"not json")
    spool.set_aside(name)
    for _ in range(3):
        spool.put_broken(b"nor this")
    assert spool.names() == []
    assert len(list((Path(spool.folder) / "broken").iterdir())) == 2


def test_a_link_in_the_spool_is_not_followed(spool: Spool, tmp_path: Path) -> None:
    spool.put(b"{}")
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (Path(spool.folder) / "9-1.json").symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        spool.read("9-1.json")


def test_events_wait_in_the_state_folder_or_with_the_user(tmp_path: Path) -> None:
    state = tmp_path / "state"
    environment = {"BRAINOPS_STATE_DIR": str(state), "HOME": "/home/mira"}
    assert folder_for(environment, 1000) == "/home/mira/.local/state/brainops/spool"
    state.mkdir()
    assert folder_for(environment, 1000) == f"{state}/spool"
    assert own_folder({"XDG_STATE_HOME": "/s"}) == "/s/brainops/spool"
    servers = [folder_for_server({"HOME": "/h"}, url) for url in ("https://a.b", "https://a-b", "https://a.b/c")]
    assert len({own_folder({"HOME": "/h"}), *servers}) == 4
    assert state_folder({"HOME": "/home/mira"}, 1000) == "/home/mira/.local/share/brainops"
    assert state_folder({}, 0) == "/var/lib/brainops"
