"""Bring a database to the schema of this version: the schema `brainops`, its tables, and the run-time login."""

import importlib.util
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from psycopg import sql
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from brainops.config.paths import StatePaths
from brainops.database.schema import SCHEMA
from brainops.database.secrets import derived_password, kept_passwords
from brainops.database.urls import APP_ROLE, app_url, connection_string, parse_url
from brainops.errors import SetupError, UnavailableError

_OLDEST_SERVER = 14
_MARK = "Made by BrainOps. Everything that it keeps stands here."
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('brainops'), hashtext('migration'))")
_CONNECT_TIMEOUT_SECONDS = 10


def upgrade(owner_url: str, paths: StatePaths, revision: str = "head") -> str:
    """Create or upgrade everything in the database of `owner_url`; return the URL of the run-time login.

    `revision`: the one to stop at (a backup is loaded into the tables that it was taken from); default: the newest.

    All of it is one transaction, and processes that do it at once wait for each other. The password of the run-time
    login is derived from the owner's; where the owner has none, it is kept in `paths.postgres`. Blocks; about a tenth of a second when there is
    nothing to do. Raises SetupError when the database cannot be used: too old, no pgvector, a schema `brainops` that
    is not ours, a newer BrainOps has been here, or the owner lacks a right; UnavailableError when it does not answer.
    """
    password = _app_password(owner_url, paths)
    with _owner_connection(owner_url) as connection:
        _check_server(connection)
        connection.execute(_LOCK)
        _claim_schema(connection)
        created = _ensure_role(connection, password)
        try:
            command.upgrade(_alembic(connection), revision)
        except CommandError as error:
            raise SetupError(
                f"the database was migrated by a newer BrainOps than this one ({error}); install that version"
            ) from error
    url = app_url(owner_url, password)
    if not created and not _can_log_in(url):
        with _owner_connection(owner_url) as connection:
            _set_password(connection, password)
    return url


def _app_password(owner_url: str, paths: StatePaths) -> str:
    owner_password = parse_url(owner_url).password
    if owner_password:
        return derived_password(owner_password, APP_ROLE)
    paths.postgres.mkdir(mode=0o711, parents=True, exist_ok=True)
    return kept_passwords(paths.postgres / "passwords.json", (APP_ROLE,))[APP_ROLE]


def newest() -> str:
    """The revision that this BrainOps migrates to."""
    return str(_scripts().get_current_head())


def knows(revision: str) -> bool:
    """Whether this BrainOps has the migration `revision`; a database at another one is of a newer BrainOps."""
    return any(script.revision == revision for script in _scripts().walk_revisions())


def current(url: str) -> str | None:
    """The revision that the database stands at; None before the first migration. Raises UnavailableError."""
    with _owner_connection(url) as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
        return context.get_current_revision()


def _alembic(connection: Connection) -> Config:
    config = _migrations()
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_migrations())


def _migrations() -> Config:
    found = importlib.util.find_spec("migrations")
    if found is None or found.origin is None:
        raise SetupError("BrainOps' migrations are missing from this installation; install the brainops package again")
    config = Config()
    config.set_main_option("script_location", str(Path(found.origin).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _owner_connection(url: str) -> Generator[Connection]:
    engine = create_engine(
        parse_url(url), poolclass=NullPool, connect_args={"connect_timeout": _CONNECT_TIMEOUT_SECONDS}
    )
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        raise UnavailableError(f"Postgres does not answer: {_reason(error)}") from error
    except DBAPIError as error:
        raise SetupError(
            f"the database cannot be prepared: {_reason(error)}; BRAINOPS_DATABASE_URL must name a role that owns the "
            "database and may create roles (and, for CREATE EXTENSION vector, a superuser unless it is installed)"
        ) from error
    finally:
        engine.dispose()


def _reason(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0]


def _check_server(connection: Connection) -> None:
    version = int(connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()) // 10_000
    if version < _OLDEST_SERVER:
        raise SetupError(f"the server is PostgreSQL {version}; BrainOps needs {_OLDEST_SERVER} or newer")
    offered = connection.execute(
        text("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
    ).scalar_one()
    if not offered:
        raise SetupError(
            f"the PostgreSQL {version} server has no pgvector; install its package on the server "
            f"(postgresql-{version}-pgvector on Debian), or unset BRAINOPS_DATABASE_URL to use the embedded one"
        )


def _claim_schema(connection: Connection) -> None:
    """Make the schema, or make sure that it is ours. Raises SetupError."""
    mark = connection.execute(
        text("SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = :schema"),
        {"schema": SCHEMA},
    ).scalar_one_or_none()
    if mark is None:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        connection.execute(text(f"COMMENT ON SCHEMA {SCHEMA} IS '{_MARK}'"))
    elif mark != _MARK:
        database = connection.engine.url.database
        raise SetupError(
            f"the database {database!r} has a schema {SCHEMA!r} that BrainOps did not make; "
            "rename it, or name another database in BRAINOPS_DATABASE_URL"
        )


def _ensure_role(connection: Connection, password: str) -> bool:
    """Whether the run-time login had to be made. Raises SetupError for one that would escape row-level security."""
    found = connection.execute(
        text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = :role"), {"role": APP_ROLE}
    ).scalar_one_or_none()
    if found:
        raise SetupError(f"the role {APP_ROLE} is a superuser or bypasses row-level security; take that right from it")
    if found is None:
        _execute(connection, sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}"), password)
    return found is None


def _set_password(connection: Connection, password: str) -> None:
    _execute(connection, sql.SQL("ALTER ROLE {} LOGIN NOINHERIT PASSWORD {}"), password)


def _execute(connection: Connection, statement: sql.SQL, password: str) -> None:
    composed = statement.format(sql.Identifier(APP_ROLE), sql.Literal(password))
    connection.exec_driver_sql(composed.as_string())


def _can_log_in(url: str) -> bool:
    try:
        psycopg.connect(connection_string(url), connect_timeout=_CONNECT_TIMEOUT_SECONDS).close()
    except psycopg.OperationalError:
        return False
    return True
