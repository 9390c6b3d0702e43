"""Disk that images and build caches of a Docker engine take and nothing uses."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from brainops.config.quantities import format_size
from brainops.contracts.incident import ReclaimableFacts
from brainops.services.container_engine import Engine, EngineClient, EngineRefusedError, Raw, endpoint_of, part, parts
from brainops.services.container_facts import parse_time

IMAGES, BUILD_CACHE = "images", "build_cache"

YOUNGEST = timedelta(hours=1)
"""An image that was built or pulled since may be about to be used."""


@dataclass(frozen=True)
class Usage:
    """What the engine's store holds."""

    images: int
    build_cache: int
    unused_images: tuple[str, ...]
    """Ids of images that no container uses, running or not."""
    unused_bytes: int
    own_bytes: dict[str, int]
    """What each unused image takes that no other image shares."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.images + self.build_cache


async def reclaimable(endpoint: str | None, target_bytes: int) -> tuple[ReclaimableFacts, ...]:
    """What could be had back from the engine at `endpoint` (None: the machine's usual one).

    `target_bytes`: what its store may be shrunk to. Raises UnavailableError where no engine answers.
    """
    engine = Engine(endpoint_of(endpoint))
    try:
        usage = await measure(engine)
    finally:
        await engine.close()
    found = {IMAGES: usage.unused_bytes, BUILD_CACHE: usage.build_cache}
    return tuple(
        ReclaimableFacts(kind=kind, bytes=size, target_bytes=target_bytes) for kind, size in found.items() if size
    )


async def measure(engine: Engine) -> Usage:
    """What the engine's store holds. It looks at every layer, which can take seconds."""
    raw = await engine.call(lambda client: client.df())
    containers = await engine.call(lambda client: client.containers(all=True))
    used = {str(one.get("ImageID", "")) for one in containers}
    images = parts(raw, "Images")
    parents = {str(image.get("ParentId", "")) for image in images}
    unused = [image for image in images if image["Id"] not in used and image["Id"] not in parents]
    own = {str(image["Id"]): _own_bytes(image) for image in unused}
    caches = parts(raw, "BuildCache")
    return Usage(
        images=int(raw.get("LayersSize") or 0),
        build_cache=sum(int(cache.get("Size") or 0) for cache in caches if not cache.get("Shared")),
        unused_images=tuple(own),
        unused_bytes=sum(own.values()),
        own_bytes=own,
    )


async def prune(
    engine: Engine, target_bytes: int, protected: frozenset[str], *, now: datetime, youngest: timedelta = YOUNGEST
) -> str:
    """Remove build caches, then unused images, dangling and oldest first, until the store takes `target_bytes`.

    Never an image that a container uses, one of `protected` (ids), or one that came less than `youngest`
    ago. Answers with a sentence. Raises UnavailableError.
    """
    before = await measure(engine)
    held = before.total
    if held > target_bytes and before.build_cache:
        keep = max(0, before.build_cache - (held - target_bytes))
        await engine.call(lambda client: client.prune_builds(keep_storage=keep, all=True))
        held = (await measure(engine)).total
    removed = 0
    if held > target_bytes:
        found = [await _image(engine, image) for image in before.unused_images if image not in protected]
        old = [image for image in found if image is not None and now - image.came_at >= youngest]
        for image in sorted(old, key=lambda one: (bool(one.tags), one.came_at)):
            if held <= target_bytes:
                break
            if await _remove(engine, image):
                removed += 1
                held -= before.own_bytes[image.id]
    after = await measure(engine)
    freed = max(0, before.total - after.total)
    short = "" if after.total <= target_bytes else "; nothing more may be removed"
    images = f"{removed} image{'' if removed == 1 else 's'}"
    return f"removed {images} and build caches, {format_size(freed)}; {format_size(after.total)} are left{short}"


@dataclass(frozen=True)
class _Image:
    """An image that nothing uses."""

    id: str
    tags: tuple[str, ...]
    came_at: datetime


async def _image(engine: Engine, image_id: str) -> _Image | None:
    """None: it is gone."""
    try:
        raw = await engine.call(lambda client: client.inspect_image(image_id))
    except EngineRefusedError as refusal:
        if refusal.missing:
            return None
        raise
    came = parse_time(str(part(raw, "Metadata").get("LastTagTime") or ""))
    made = parse_time(str(raw.get("Created") or ""))
    oldest = datetime.fromtimestamp(0, UTC)
    return _Image(image_id, tuple(raw.get("RepoTags") or ()), came or made or oldest)


def _own_bytes(image: Raw) -> int:
    """-1 stands for what the engine has not worked out."""
    size, shared = int(image.get("Size") or 0), max(0, int(image.get("SharedSize") or 0))
    return max(0, size - shared)


async def _remove(engine: Engine, image: _Image) -> bool:
    """Whether it was removed. The engine itself refuses what is in use by now."""
    try:
        for name in image.tags or (image.id,):
            await engine.call(_removing(name))
    except EngineRefusedError:  # somebody uses it, or has removed it: the next oldest is tried
        return False
    return True


def _removing(name: str) -> Callable[[EngineClient], object]:
    return lambda client: client.remove_image(name)
