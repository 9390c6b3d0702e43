"""The embedded Temporal server, with the real binary."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from brainops.contracts.names import NAMESPACE_RETENTION_DAYS, SEARCH_ATTRIBUTES
from brainops.errors import SetupError, UnavailableError
from workers.stack.ports import Wanted, choose
from workers.stack.supervisor import Part, PartSpec
from workers.stack.temporal_binary import find_or_install
from workers.stack.temporal_server import TemporalServer, external_address, prepare_external

PLAIN = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


@pytest.fixture
def server(tmp_path: Path) -> TemporalServer:
    port, ui_port = choose([Wanted("Temporal", 0), Wanted("UI", 0)], "auto", lambda _line: None)
    return TemporalServer(find_or_install(lambda _line: None), tmp_path / "temporal", port, ui_port)


def spec(server: TemporalServer) -> PartSpec:
    return PartSpec(
        name="temporal",
        command=server.command,
        environment=PLAIN,
        log_file=server.folder.parent / "temporal.log",
        ready=server.ready,
        repair=server.set_refused_file_aside,
    )


@asynccontextmanager
async def running(spec: PartSpec) -> AsyncGenerator[list[str]]:
    """Run it for the block; gives what people are told."""
    said: list[str] = []
    part = Part(spec, said.append)
    try:
        await part.start()
        yield said
    finally:
        await part.stop()


async def retention(client: Client) -> timedelta:
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    return described.config.workflow_execution_retention_ttl.ToTimedelta()


async def attributes(client: Client) -> set[str]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    return set((await client.operator_service.list_search_attributes(request)).custom_attributes)


async def test_ready_server_keeps_histories_and_knows_our_attributes(server: TemporalServer) -> None:
    for _ in range(2):  # the second time with the file of the first
        async with running(spec(server)) as said:
            client = await Client.connect(server.address)
            assert await retention(client) == timedelta(days=NAMESPACE_RETENTION_DAYS)
            assert set(SEARCH_ATTRIBUTES) <= await attributes(client)
            assert said == []
    assert server.database_file.stat().st_mode & 0o077 == 0 or server.folder.stat().st_mode & 0o077 == 0


async def test_server_that_does_not_run_is_not_ready(server: TemporalServer) -> None:
    assert not await server.ready()


@pytest.mark.parametrize("content", [b"not a database at all", b"SQLite format 3\0" + b"\xff" * 4096])
async def test_file_that_the_server_refuses_is_kept_and_a_fresh_one_begun(
    server: TemporalServer, content: bytes
) -> None:
    server.folder.mkdir()
    server.database_file.write_bytes(content)
    async with running(spec(server)) as said:
        assert await server.ready()
    (kept,) = server.folder.glob("temporal.db.refused-*")
    assert kept.read_bytes() == content
    assert len(said) == 1
    assert str(kept) in said[0]


async def test_other_failures_leave_the_file_alone(server: TemporalServer) -> None:
    async with running(spec(server)):
        second = replace(server, ui_port=server.ui_port + 1)
        broken = replace(spec(second), first_tries=1, ready=never)
        with pytest.raises(SetupError, match="temporal does not start"):
            await Part(broken, lambda _line: None).start()
    assert server.database_file.exists()
    assert list(server.folder.glob("*.refused-*")) == []


async def never() -> bool:
    return False


async def test_server_that_we_did_not_start_learns_our_attributes(server: TemporalServer) -> None:
    def without_attributes() -> list[str]:
        return [word for word in server.command() if not word.startswith("--search-attribute")]

    async def answers() -> bool:
        try:
            await Client.connect(server.address)
        except RuntimeError:
            return False
        return True

    async with running(replace(spec(server), command=without_attributes, ready=answers)):
        client = await Client.connect(server.address)
        assert not set(SEARCH_ATTRIBUTES) & await attributes(client)
        for _ in range(2):
            await prepare_external({**PLAIN, "TEMPORAL_ADDRESS": server.address}, never_said)
            assert set(SEARCH_ATTRIBUTES) <= await attributes(client)
        assert await retention(client) == timedelta(days=1), "how long histories are kept is its owner's business"


def never_said(line: str) -> None:
    raise AssertionError(line)


async def test_given_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9 does not answer.*TEMPORAL_ADDRESS"):
        await prepare_external({**PLAIN, "TEMPORAL_ADDRESS": "127.0.0.1:9"}, never_said)


def test_address_comes_from_the_environment_or_a_profile(tmp_path: Path) -> None:
    profiles = tmp_path / "temporal.toml"
    profiles.write_text('[profile.default]\naddress = "one:7233"\n[profile.other]\naddress = "other:7233"\n')
    named = {"TEMPORAL_CONFIG_FILE": str(profiles)}
    assert external_address({}) is None
    assert external_address(named) == "one:7233"
    assert external_address({**named, "TEMPORAL_PROFILE": "other"}) == "other:7233"
    assert external_address({**named, "TEMPORAL_ADDRESS": "shell:7233"}) == "shell:7233"


def test_unreadable_profile_is_named(tmp_path: Path) -> None:
    profiles = tmp_path / "temporal.toml"
    profiles.write_text("[profile")
    with pytest.raises(SetupError, match="profile file"):
        external_address({"TEMPORAL_CONFIG_FILE": str(profiles)})
