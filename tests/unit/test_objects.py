"""The object store on a local folder."""

from pathlib import Path

import pytest

from brainops.errors import BadInputError, NotFoundError, UnavailableError
from brainops.storage.objects import ObjectStore


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


async def test_what_is_put_is_got_listed_and_deleted(objects: ObjectStore) -> None:
    await objects.put("a/one.bin", b"\x00first")
    await objects.put("a/one.bin", b"second")
    await objects.put("b/two words.txt", b"")
    assert await objects.get("a/one.bin") == b"second"
    assert await objects.exists("a/one.bin")
    assert await objects.list() == ["a/one.bin", "b/two words.txt"]
    assert await objects.list("a") == ["a/one.bin"]
    await objects.delete("a/one.bin")
    await objects.delete("a/one.bin")
    assert not await objects.exists("a/one.bin")
    with pytest.raises(NotFoundError, match=r"a/one\.bin"):
        await objects.get("a/one.bin")
    assert await objects.list("nowhere") == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../out", "a/../../out", "a//b", "a/./b", "nul\x00"])
async def test_a_key_cannot_lead_out_of_the_store(objects: ObjectStore, key: str) -> None:
    for call in (objects.get, objects.exists, objects.delete):
        with pytest.raises(BadInputError):
            await call(key)
    with pytest.raises(BadInputError):
        await objects.put(key, b"")


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path / "objects")
    (tmp_path / "objects" / "a").touch()
    with pytest.raises(UnavailableError, match="object storage did not write"):
        await objects.put("a/b", b"x")


def test_the_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    ObjectStore(tmp_path / "objects")
    assert (tmp_path / "objects").stat().st_mode & 0o777 == 0o700


async def test_a_url_names_a_place_too(tmp_path: Path) -> None:
    await ObjectStore(tmp_path.as_uri()).put("a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"
