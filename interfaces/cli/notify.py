"""`brainops notify`: try the channels, and see what was delivered."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from brainops.config.load import reload_config
from brainops.config.models import BrainOpsConfig
from brainops.config.paths import StatePaths
from brainops.errors import BadInputError, BrainOpsError, NotFoundError
from brainops.notify.channels import Channels
from brainops.notify.store import Notice, NoticeStore
from interfaces.cli.context import complete, connect
from interfaces.cli.display import ago, print_json, say, state, table
from interfaces.cli.names import unknown
from workers.stack.state import StackInfo

app = typer.Typer(
    no_args_is_help=True,
    help="Try the channels; list what was delivered.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The file.", show_default="the stack's, else ./brainops.yaml"),
]


class TestResult(BaseModel):
    """How one channel took the test message."""

    channel: str
    ok: bool
    detail: str = ""


class TestResults(BaseModel):
    """`brainops notify test --json`."""

    results: list[TestResult]


class Deliveries(BaseModel):
    """`brainops notify list --json`."""

    notices: list[Notice]


@app.command("test")
def try_channels(
    channel: Annotated[
        str | None, typer.Argument(metavar="[CHANNEL]", help="A channel of the file.", show_default="all")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Send a real message through each channel. Exit code 1 when one of them did not take it."""
    complete(_test(channel, config, json))


@app.command("list")
def list_notices(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")] = 30,
    json: Json = False,
) -> None:
    """List the last messages: delivered, waiting, held back, failed."""
    complete(_list(limit, json))


async def _test(channel: str | None, config: Path | None, json: bool) -> None:
    declared = _config(config).notify.channels
    if not declared:
        raise NotFoundError("the file has no channels; add notify: {channels: {ops: {url: …}}} to it")
    if channel is not None and channel not in declared:
        raise unknown("channel", channel, set(declared))
    names = [channel] if channel is not None else list(declared)
    channels = Channels(declared, os.environ)
    try:
        results = await asyncio.gather(*(_try(channels, name) for name in names))
    finally:
        channels.close()
    if json:
        print_json(TestResults(results=results))
    else:
        rows = [(one.channel, state("ok" if one.ok else "failed"), one.detail) for one in results]
        say(table("Test message", ("channel", "result", "detail"), rows, elastic="detail"))
    if not all(one.ok for one in results):
        raise typer.Exit(1)


async def _try(channels: Channels, name: str) -> TestResult:
    body = f"Channel {name} of BrainOps works. This message asks for nothing."
    try:
        await channels.send(name, "info", "[test] BrainOps can reach you", body)
    except BrainOpsError as error:
        return TestResult(channel=name, ok=False, detail=str(error))
    return TestResult(channel=name, ok=True, detail="taken")


def _config(path: Path | None) -> BrainOpsConfig:
    if path is None:
        info = StackInfo.read(StatePaths.default())
        path = info.config_path if info is not None and info.config_path is not None else Path("brainops.yaml")
    if not path.exists():
        raise BadInputError(f"{path} does not exist; name the file with --config")
    return reload_config(path).config


async def _list(limit: int, json: bool) -> None:
    async with connect() as stack:
        found = await NoticeStore(stack.database).list(limit)
    if json:
        print_json(Deliveries(notices=found))
        return
    if not found:
        say("Nothing was told yet; `brainops notify test` tries the channels.")
        return
    now = datetime.now(UTC)
    rows = [
        (
            ago(one.sent_at or one.created_at, now),
            one.channel,
            state(one.state),
            one.subject,
            one.last_error
            or (f"because of {one.held_because}, until {ago(one.due_at, now)}" if one.held_because else ""),
        )
        for one in found
    ]
    say(table("Messages", ("when", "channel", "state", "subject", "detail"), rows, elastic="subject"))
