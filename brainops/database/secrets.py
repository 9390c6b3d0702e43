"""Passwords that BrainOps makes for itself: random or derived, and readable by their owner only."""

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from brainops.errors import SetupError


def kept_passwords(file: Path, names: Iterable[str]) -> dict[str, str]:
    """The passwords kept in `file` (JSON, mode 0600), with new ones made for the `names` that it lacks.

    The folder must exist. Raises SetupError when the file cannot be read as written.
    """
    kept = _read(file)
    missing = [name for name in names if name not in kept]
    if missing:
        kept |= {name: secrets.token_urlsafe(32) for name in missing}
        _write(file, kept)
    return kept


def derived_password(owner_password: str, role: str) -> str:
    """The password of `role` on a server whose owner has `owner_password`.

    Every BrainOps that is given the owner's login derives the same one, so that a second installation on the same
    server does not lock the first one out. HMAC-SHA256: the owner's password cannot be read from it.
    """
    digest = hmac.new(owner_password.encode(), f"brainops role {role}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")


def _read(file: Path) -> dict[str, str]:
    try:
        loaded = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SetupError(f"the passwords in {file} cannot be read: {error}; restore the file from a backup") from error
    return {str(name): str(value) for name, value in loaded.items()}


def _write(file: Path, passwords: dict[str, str]) -> None:
    fresh = file.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump(passwords, stream)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)
