"""Artifacts, on a real Postgres and a folder."""

import base64
import gzip
import hashlib
from pathlib import Path

import pytest

from brainops.database.engine import Database
from brainops.errors import BadInputError, BrainOpsError, NotFoundError, UnavailableError
from brainops.memory import artifacts as module
from brainops.memory.artifacts import ArtifactStore
from brainops.storage.objects import ObjectStore


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


@pytest.fixture
def store(database: Database, objects: ObjectStore) -> ArtifactStore:
    return ArtifactStore(database, objects)


async def test_content_comes_back_with_its_reference(store: ArtifactStore, objects: ObjectStore) -> None:
    content = ("line Zürich\n" * 1_000).encode()
    reference = await store.put(content, "text/plain", "s")
    sha256 = hashlib.sha256(content).hexdigest()
    assert reference.key == f"artifacts/default/{sha256[:2]}/{sha256}"
    (found,) = await store.fetch_many([reference.key])
    assert (found.text, found.base64, found.bytes) == (content.decode(), None, len(content))
    assert (found.sha256, found.media_type) == (sha256, "text/plain")
    assert len(await objects.get(reference.key)) < 500


async def test_what_is_not_text_comes_back_as_base64(store: ArtifactStore) -> None:
    content = bytes(range(256))
    reference = await store.put(content, "image/png")
    (found,) = await store.fetch_many([reference.key])
    assert found.text is None
    assert base64.b64decode(found.base64 or "") == content


async def test_the_same_content_is_kept_once(store: ArtifactStore, objects: ObjectStore) -> None:
    assert await store.put(b"same", "text/plain", "s") == await store.put(b"same", "text/plain", "t")
    assert len(await objects.list("artifacts")) == 1


async def test_no_secret_reaches_object_storage(store: ArtifactStore, objects: ObjectStore) -> None:
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    reference = await store.put(f"token: {token}\nport: 8080\n".encode(), "text/plain")
    kept = gzip.decompress(await objects.get(reference.key))
    assert token.encode() not in kept
    assert b"port: 8080" in kept


async def test_unknown_keys_are_left_out_and_the_others_keep_their_order(store: ArtifactStore) -> None:
    keys = [(await store.put(word, "text/plain")).key for word in (b"one", b"two")]
    found = await store.fetch_many([keys[1], "artifacts/default/00/none", keys[0], keys[1]])
    assert [each.text for each in found] == ["two", "one"]


async def test_another_tenant_cannot_fetch_it_by_its_key(
    store: ArtifactStore, app_url: str, objects: ObjectStore
) -> None:
    reference = await store.put(b"ours", "text/plain")
    theirs = Database(app_url, tenant_id="acme")
    other = ArtifactStore(theirs, objects)
    assert await other.fetch_many([reference.key]) == []
    assert (await other.put(b"ours", "text/plain")).key != reference.key
    await theirs.close()


@pytest.mark.parametrize("content", [gzip.compress(b"other"), b"no gzip", gzip.compress(b"x" * 10_000_000)])
async def test_changed_content_is_not_given_out(store: ArtifactStore, objects: ObjectStore, content: bytes) -> None:
    reference = await store.put(b"right", "text/plain")
    await objects.put(reference.key, content)
    with pytest.raises(BrainOpsError, match="its sha256 is another"):
        await store.fetch_many([reference.key])


async def test_lost_content_is_named(store: ArtifactStore, objects: ObjectStore) -> None:
    reference = await store.put(b"right", "text/plain")
    await objects.delete(reference.key)
    with pytest.raises(NotFoundError, match="memory verify"):
        await store.fetch_many([reference.key])


async def test_sizes_are_bounded(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match="artifact: 16,777,217 bytes; at most 16,777,216"):
        await store.put(bytes(16 * 1024 * 1024 + 1), "application/octet-stream")
    monkeypatch.setattr(module, "MOST_FETCHED", 5)
    keys = [(await store.put(word, "text/plain")).key for word in (b"one", b"two")]
    with pytest.raises(BadInputError, match="artifact_keys: 6 bytes together; at most 5"):
        await store.fetch_many(keys)


async def test_storage_that_is_away_is_unavailable(database: Database, tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    (tmp_path / "gone").write_text("a file in the place of the folder")
    with pytest.raises(UnavailableError):
        await ArtifactStore(database, objects).put(b"x", "text/plain")
