"""`brainops keys`: who may use the HTTP API."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.text import Text

from brainops.access.keys import ApiKey, KeyStore, Scope
from brainops.config.quantities import parse_duration
from brainops.errors import BadInputError
from interfaces.cli.context import complete, connect
from interfaces.cli.display import ago, plain, print_json, say, state, table, when

app = typer.Typer(
    no_args_is_help=True,
    help="Create, list and revoke API keys.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]


class CreatedKey(BaseModel):
    """`brainops keys create --json`. The only time that the secret is told."""

    key: ApiKey
    secret: str


class KeyList(BaseModel):
    """`brainops keys list --json`."""

    keys: list[ApiKey]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, such as ci or backup-job.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What it may do; repeat for several. admin includes all.", show_default="read"),
    ] = None,
    expires: Annotated[str | None, typer.Option(metavar="DURATION", help="Valid for this long, such as 90d.")] = None,
    json: Json = False,
) -> None:
    """Make a key. Its secret is shown once and kept only as a hash."""
    complete(_create(name, frozenset(scope or [Scope.READ]), expires, json))


@app.command("list")
def list_keys(json: Json = False) -> None:
    """List the keys; no secrets."""
    complete(_list(json))


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as listed.")]) -> None:
    """End a key at once."""
    complete(_revoke(key_id))


async def _create(name: str, scopes: frozenset[Scope], expires: str | None, json: bool) -> None:
    expires_at = None
    if expires is not None:
        try:
            expires_at = datetime.now(UTC) + parse_duration(expires)
        except ValueError as error:
            raise BadInputError(f"--expires: {error}") from error
    async with connect() as stack:
        key, secret = await KeyStore(stack.database).create(name, scopes, expires_at)
    if json:
        print_json(CreatedKey(key=key, secret=secret))
        return
    typer.echo(secret)
    typer.echo("Keep it now: it is not shown again. Send it as `Authorization: Bearer bok_…`.", err=True)


async def _list(json: bool) -> None:
    async with connect() as stack:
        found = list(await KeyStore(stack.database).list())
    if json:
        print_json(KeyList(keys=found))
        return
    if not found:
        say("There are no keys; `brainops keys create NAME` makes one.")
        return
    now = datetime.now(UTC)
    rows = [
        (
            str(key.id),
            key.name,
            ", ".join(sorted(key.scopes)),
            _condition(key, now),
            when(key.last_used_at, now) if key.last_used_at else plain("never", "dim"),
        )
        for key in found
    ]
    say(table("API keys", ("id", "name", "scopes", "state", "last used"), rows, elastic="name"))


def _condition(key: ApiKey, now: datetime) -> Text:
    if key.revoked_at is not None:
        return state("revoked")
    if key.expires_at is None:
        return state("ok")
    return state("expired") if key.expires_at <= now else plain(f"expires {ago(key.expires_at, now)}")


async def _revoke(key_id: str) -> None:
    async with connect() as stack:
        await KeyStore(stack.database).revoke(key_id)
    say(f"Revoked {key_id}.")
