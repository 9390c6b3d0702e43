"""Object storage: what is too big for a row. A local folder, or a bucket by its URL."""

from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from brainops.errors import BadInputError, NotFoundError, UnavailableError


class ObjectStore:
    """Bytes under keys such as `histories/7f3c/1.json.gz`.

    `place`: a folder, made (mode 0700) if it does not exist, or a URL that obstore knows (`s3://bucket/prefix`, `gs://…`, `az://…`,
    `file:///…`), whose credentials come from the environment.
    """

    def __init__(self, place: str | Path) -> None:
        if isinstance(place, str) and "://" in place:
            self._store = from_url(place)
        else:
            folder = Path(place)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._store = LocalStore(folder)

    async def put(self, key: str, content: bytes) -> None:
        """Keep `content` under `key`, in place of what was there; readers see the old or the new, never a part."""
        _check(key)
        try:
            await obstore.put_async(self._store, key, content)
        except (BaseError, OSError) as error:
            raise _unavailable("write", key, error) from error

    async def get(self, key: str) -> bytes:
        """What is kept under `key`. Raises NotFoundError."""
        _check(key)
        try:
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise NotFoundError(f"nothing is kept under {key!r} in object storage") from error
        except (BaseError, OSError) as error:
            raise _unavailable("read", key, error) from error

    async def exists(self, key: str) -> bool:
        """Whether something is kept under `key`."""
        _check(key)
        try:
            await obstore.head_async(self._store, key)
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise _unavailable("look for", key, error) from error
        return True

    async def delete(self, key: str) -> None:
        """Remove what is kept under `key`; nothing there is no mistake."""
        _check(key)
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise _unavailable("delete", key, error) from error

    async def list(self, prefix: str = "") -> list[str]:
        """Keys below the folder `prefix` (whole path segments), sorted. Default: all."""
        try:
            # Its overloads for Arrow name a package that we do not need.
            listing = obstore.list(self._store, prefix or None)  # pyright: ignore[reportUnknownMemberType]
            found = await listing.collect_async()
        except FileNotFoundError:
            return []
        except (BaseError, OSError) as error:
            raise _unavailable("list", prefix, error) from error
        return sorted(item["path"] for item in found)


def _check(key: str) -> None:
    parts = key.split("/")
    if not key or any(part in ("", ".", "..") for part in parts) or "\x00" in key:
        raise BadInputError(f"{key!r} is no object-storage key; write it as folder/name, without empty or dot segments")


def _unavailable(what: str, key: str, error: Exception) -> UnavailableError:
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UnavailableError(f"object storage did not {what} {key!r}: {first_line}")
