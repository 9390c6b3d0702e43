"""Database URLs: as people write them, as the driver needs them, and the run-time login that follows from the owner's."""

from typing import TYPE_CHECKING

from brainops.errors import BadInputError

if TYPE_CHECKING:
    from sqlalchemy import URL

APP_ROLE = "brainops_app"
"""The run-time login: neither superuser nor owner, so that row-level security holds for it."""

_DRIVER = "postgresql+psycopg"
_DIALECTS = ("postgres", "postgresql", _DRIVER)


def parse_url(url: str) -> "URL":
    """Read `postgresql://…`, `postgres://…` or `postgresql+psycopg://…` for use with psycopg.

    Raises BadInputError (which never repeats the URL: it holds a password).
    """
    # Not above: 20 MB that `brainops up`, which imports this module for a name, does without.
    from sqlalchemy import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    remedy = "write BRAINOPS_DATABASE_URL as postgresql://USER:PASSWORD@HOST:5432/DATABASE"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise BadInputError(f"the database URL cannot be read; {remedy}") from error
    if parsed.drivername not in _DIALECTS:
        raise BadInputError(f"the database URL is for {parsed.drivername!r}, which is not PostgreSQL; {remedy}")
    return parsed.set(drivername=_DRIVER)


def connection_string(url: str) -> str:
    """The same URL for libpq (`psycopg.connect`), password included."""
    return parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def app_url(owner_url: str, password: str) -> str:
    """The URL of the run-time login for the database that `owner_url` names, password included."""
    url = parse_url(owner_url).set(username=APP_ROLE, password=password)
    return url.render_as_string(hide_password=False)
