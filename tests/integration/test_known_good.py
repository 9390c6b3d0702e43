"""Known good files: kept when proven, compared, restored, and put back exactly."""

import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brainops.config.models import Service
from brainops.contracts.incident import FileCondition
from brainops.contracts.service import ProcessRecord
from brainops.database.engine import Database
from brainops.errors import ActionError, NotAllowedError, NotFoundError
from brainops.services import declared_files
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.storage.objects import ObjectStore

SOON = timedelta(seconds=1)


class Shop:
    """A service's folder, and its known good files."""

    def __init__(self, database: Database, folder: Path, paths: Sequence[str] = ("settings.json",)) -> None:
        self.folder = folder / "shop"
        self.folder.mkdir()
        self.store = KnownGoodStore(database)
        self.objects = ObjectStore(folder / "objects")
        self.object_folder = folder / "objects"
        self.known_good = KnownGoodFiles(self.store, self.objects, self.folder)
        self.service = Service.model_validate(
            {"run": {"command": ["run"]}, "files": [{"path": path} for path in paths]}
        )

    def write(self, content: str, path: str = "settings.json", mode: int = 0o640) -> Path:
        written = self.folder / path
        written.parent.mkdir(exist_ok=True)
        written.write_text(content)
        written.chmod(mode)
        return written

    async def keep(self, started_in: timedelta = SOON) -> tuple[str, ...]:
        """As if a healthy process had been started this long after now."""
        process = ProcessRecord(
            pid=1, start_ticks=1, effect_key="key", command=("run",), started_at=datetime.now(UTC) + started_in
        )
        return await self.known_good.keep("shop", self.service, process)

    async def condition(self) -> tuple[FileCondition, str]:
        facts = (await self.known_good.compare("shop", self.service))[0]
        return facts.condition, facts.detail

    async def restore(self, *paths: str, key: str = "backups/shop/key-1") -> str:
        return await self.known_good.restore("shop", self.service, paths or ("settings.json",), key)

    async def put_back(self, key: str = "backups/shop/key-1") -> str:
        return await self.known_good.put_back("shop", self.service, key)


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    return Shop(database, tmp_path)


async def test_a_file_that_a_healthy_process_read_is_kept_once(shop: Shop) -> None:
    shop.write("{}")
    assert (await shop.condition())[0] is FileCondition.UNKEPT
    assert await shop.keep() == ("settings.json",)
    assert await shop.keep() == ()
    assert await shop.condition() == (FileCondition.SAME, "")
    [kept] = await shop.store.versions("shop", "settings.json")
    assert (kept.mode, kept.size) == (0o640, 2)
    assert await shop.objects.get(kept.object_key) == b"{}"


async def test_a_file_that_changed_after_the_start_is_not_proven(shop: Shop) -> None:
    written = shop.write("{}")
    assert await shop.keep(-SOON) == ()
    os.utime(written, (1, 1))  # an old date is no proof: the file's own change time tells
    assert await shop.keep(-SOON) == ()


async def test_three_versions_are_kept_and_the_contents_of_older_ones_go(shop: Shop) -> None:
    for number in range(5):
        shop.write(f"version {number}")
        assert await shop.keep()
    versions = await shop.store.versions("shop", "settings.json")
    assert [await shop.objects.get(version.object_key) for version in versions] == [
        b"version 4",
        b"version 3",
        b"version 2",
    ]
    assert len(await shop.objects.list("known-good")) == 3


async def test_a_changed_mode_is_a_new_version_and_a_difference(shop: Shop) -> None:
    written = shop.write("{}")
    await shop.keep()
    written.chmod(0o000)
    condition, _ = await shop.condition()
    assert condition in (FileCondition.CHANGED, FileCondition.UNREADABLE)  # root reads everything
    await shop.restore()
    assert stat.S_IMODE(written.stat().st_mode) == 0o640
    written.chmod(0o600)
    assert await shop.keep() == ("settings.json",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{broken", "7 bytes instead of 2"),  # other size
        ("[]", "other content"),  # same size
    ],
)
async def test_a_broken_file_is_restored_with_its_mode_and_the_restoring_is_undone(
    shop: Shop, content: str, said: str
) -> None:
    written = shop.write("{}")
    await shop.keep()
    shop.write(content, mode=0o604)
    condition, detail = await shop.condition()
    assert condition is FileCondition.CHANGED
    assert said in detail

    assert "restored settings.json as of" in await shop.restore()
    assert await shop.condition() == (FileCondition.SAME, "")
    assert [path.name for path in shop.folder.iterdir()] == ["settings.json"]

    assert await shop.put_back() == "put back settings.json"
    assert (written.read_text(), stat.S_IMODE(written.stat().st_mode)) == (content, 0o604)


async def test_a_repeated_restore_leaves_the_first_backup_as_it_is(shop: Shop) -> None:
    written = shop.write("{}")
    await shop.keep()
    shop.write("broken")
    await shop.restore()
    await shop.restore()
    await shop.put_back()
    assert written.read_text() == "broken"


async def test_what_did_not_exist_is_removed_again_and_its_folder_is_made(database: Database, tmp_path: Path) -> None:
    shop = Shop(database, tmp_path, ["conf/a.json"])
    written = shop.write("{}", "conf/a.json")
    await shop.keep()
    written.unlink()
    written.parent.rmdir()
    assert await shop.condition() == (FileCondition.MISSING, "it does not exist")
    await shop.restore("conf/a.json")
    assert written.read_text() == "{}"
    await shop.put_back()
    assert not written.exists()


async def test_a_link_is_not_followed_and_is_put_back_as_a_link(shop: Shop, tmp_path: Path) -> None:
    written = shop.write("{}")
    await shop.keep()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("of somebody else")
    written.unlink()
    written.symlink_to(elsewhere)
    assert "no plain file" in (await shop.condition())[1]
    await shop.restore()
    assert not written.is_symlink()
    assert elsewhere.read_text() == "of somebody else"
    await shop.put_back()
    assert written.readlink() == elsewhere


async def test_folders_links_and_huge_files_are_not_kept_and_say_so(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brainops.services.known_good.KEPT_LIMIT", 2**20)
    shop = Shop(database, tmp_path, ["folder", "link", "huge", "missing"])
    (shop.folder / "folder").mkdir()
    (shop.folder / "link").symlink_to("huge")
    with (shop.folder / "huge").open("wb") as huge:
        huge.truncate(2**20 + 1)
    assert await shop.keep() == ()
    facts = await shop.known_good.compare("shop", shop.service)
    assert {fact.condition for fact in facts} == {FileCondition.UNKEPT}
    assert [fact.detail for fact in facts] == [
        "it is a folder: declare the files in it",
        "it is a symbolic link: declare the file that it names",
        "it is larger than 1 MiB",
        "it does not exist",
    ]


async def test_what_cannot_be_kept_for_the_undo_is_not_replaced(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    written = shop.write("{}")
    await shop.keep()
    monkeypatch.setattr(declared_files, "BACKUP_LIMIT", 100)
    shop.write("x" * 101)
    with pytest.raises(ActionError, match="not replaced"):
        await shop.restore()
    assert written.stat().st_size == 101
    written.unlink()
    written.mkdir()
    with pytest.raises(ActionError, match="is a folder"):
        await shop.restore()
    assert not await shop.objects.exists("backups/shop/key-1")


async def test_a_folder_that_cannot_be_written_is_an_error_in_words(shop: Shop) -> None:
    shop.write("{}")
    await shop.keep()
    (shop.folder / "settings.json").unlink()
    shop.folder.rmdir()
    shop.folder.write_text("a file where the folder was")
    with pytest.raises(ActionError, match="cannot be written"):
        await shop.restore()


async def test_nothing_is_restored_from_nothing_or_from_damage(shop: Shop) -> None:
    shop.write("{}")
    with pytest.raises(ActionError, match=r"no good version of settings\.json was kept"):
        await shop.restore()
    await shop.keep()
    [kept] = await shop.store.versions("shop", "settings.json")
    shop.write("broken")
    await shop.objects.put(kept.object_key, b"damaged")
    with pytest.raises(ActionError, match="damaged"):
        await shop.restore()
    await shop.objects.delete(kept.object_key)
    with pytest.raises(ActionError, match="lost from the object store"):
        await shop.restore()
    with pytest.raises(NotFoundError):
        await shop.put_back("backups/shop/other")
    assert (shop.folder / "settings.json").read_text() == "broken"


async def test_only_declared_files_are_touched(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(NotAllowedError, match="passwd"):
        await shop.restore("/etc/passwd")
    shop.write("{}")
    await shop.keep()
    await shop.restore()
    undeclared = shop.service.model_copy(update={"files": ()})
    with pytest.raises(NotAllowedError):
        await shop.known_good.put_back("shop", undeclared, "backups/shop/key-1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_the_owner_stays(shop: Shop) -> None:
    written = shop.write("{}")
    await shop.keep()
    shop.write("broken")
    os.chown(written, 1234, 4321)
    await shop.restore()
    assert (written.stat().st_uid, written.stat().st_gid) == (1234, 4321)
