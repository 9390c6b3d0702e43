"""Services, good versions of their files, agents and API keys, on a real server."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from brainops.access.keys import KeyStore, Scope
from brainops.config.models import Service
from brainops.config.runs import ProcessRun
from brainops.contracts.agent import ActionClass, AgentState, Autonomy, Budget
from brainops.crew.store import CrewStore
from brainops.database.engine import Database
from brainops.errors import BadInputError, NotFoundError
from brainops.services.known_good_store import KnownGoodFile, KnownGoodStore
from brainops.services.store import ServiceStore

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
API = Service(run=ProcessRun(command=("api",)), autonomy={ActionClass.RESTART: Autonomy.ACT})
WEB = Service(run=ProcessRun(command=("web",)), autonomy=Autonomy.SUGGEST)


async def test_the_rows_follow_the_configuration(database: Database) -> None:
    store = ServiceStore(database)
    await store.apply({"web": WEB, "api": API})
    assert [(row.name, row.autonomy) for row in await store.list()] == [
        ("api", {"restart": Autonomy.ACT}),
        ("web", Autonomy.SUGGEST),
    ]
    await store.apply({"web": WEB})
    assert [row.name for row in await store.list()] == ["web"]
    await store.apply({})
    assert await store.list() == []


async def test_applying_the_same_again_changes_no_row(database: Database) -> None:
    store = ServiceStore(database)
    await store.apply({"api": API})
    before = await store.get("api")
    await store.apply({"api": API})
    assert await store.get("api") == before


async def test_a_pause_outlives_a_service_that_is_removed_and_comes_back(database: Database) -> None:
    store = ServiceStore(database)
    await store.apply({"api": API})
    await store.set_paused("api", True, "migration")
    await store.apply({})
    await store.apply({"api": API})
    row = await store.get("api")
    assert (row.paused, row.paused_reason) == (True, "migration")
    await store.set_paused("api", False, "")
    assert not (await store.get("api")).paused


async def test_an_unknown_service_is_answered_with_the_nearest_name(database: Database) -> None:
    store = ServiceStore(database)
    with pytest.raises(NotFoundError, match="known: none yet"):
        await store.get("chekout")
    await store.apply({"checkout": API})
    with pytest.raises(NotFoundError, match="did you mean checkout"):
        await store.set_paused("chekout", True, "")


def version(sha256: str, minutes: int, *, path: str = "app.toml") -> KnownGoodFile:
    return KnownGoodFile(
        service="api",
        path=path,
        sha256=sha256,
        object_key=f"known-good/{sha256}",
        mode=0o640,
        size=3,
        kept_at=NOON + timedelta(minutes=minutes),
        process_started_at=NOON,
    )


async def test_the_last_three_good_versions_are_kept(database: Database) -> None:
    store = KnownGoodStore(database)
    assert await store.newest("api", "app.toml") is None
    for minute, sha256 in enumerate("abcd"):
        await store.save(version(sha256, minute))
    await store.save(version("other", 9, path="other.toml"))
    assert await store.prune("api", "app.toml") == ["known-good/a"]
    assert await store.prune("api", "app.toml") == []
    assert [kept.sha256 for kept in await store.versions("api", "app.toml")] == ["d", "c", "b"]


async def test_a_content_that_is_good_again_becomes_the_newest(database: Database) -> None:
    store = KnownGoodStore(database)
    await store.save(version("a", 1))
    await store.save(version("b", 2))
    await store.save(version("a", 3))
    assert await store.newest("api", "app.toml") == version("a", 3)
    assert len(await store.versions("api", "app.toml")) == 2


async def test_an_agents_state_is_mirrored_whole(database: Database) -> None:
    store = CrewStore(database)
    state = AgentState(name="system_monitor", has_job=True, budget=Budget(daily_usd=2))
    assert await store.load("system_monitor") is None
    await store.save(state)
    paused = state.model_copy(update={"paused": True, "paused_reason": "holidays"})
    await store.save(paused)
    await store.save(AgentState(name="code_reviewer"))
    assert await store.load("system_monitor") == paused
    assert [agent.name for agent in await store.all()] == ["code_reviewer", "system_monitor"]


async def test_a_key_is_known_by_its_secret_alone(database: Database) -> None:
    store = KeyStore(database)
    key, secret = await store.create("ci", {Scope.READ, Scope.OPERATE})
    assert secret.startswith(f"bok_{key.id}_")
    found = await store.verify(secret)
    assert found is not None
    assert (found.id, found.scopes) == (key.id, {Scope.READ, Scope.OPERATE})
    for wrong in (
        "",
        "bok_",
        secret[:-1],
        secret[:-1] + ("a" if secret[-1] != "a" else "b"),
        "bok_\x00_x",
        secret + "\n",
    ):
        assert await store.verify(wrong) is None


async def test_the_secret_is_not_kept(database: Database) -> None:
    _, secret = await KeyStore(database).create("ci", {Scope.READ})
    row = (await database.read(text("SELECT api_keys::text AS everything FROM brainops.api_keys")))[0]
    assert secret.rsplit("_", maxsplit=1)[-1] not in row["everything"]


async def test_an_expired_or_revoked_key_opens_nothing(database: Database) -> None:
    store = KeyStore(database)
    _, expired = await store.create("old", {Scope.READ}, datetime.now(UTC) - timedelta(seconds=1))
    key, revoked = await store.create("lost", {Scope.READ}, datetime.now(UTC) + timedelta(days=1))
    assert await store.verify(revoked) is not None
    await store.revoke(key.id)
    await store.revoke(key.id)
    assert await store.verify(expired) is None
    assert await store.verify(revoked) is None
    assert [kept.name for kept in await store.list()] == ["lost", "old"]
    with pytest.raises(NotFoundError, match="no API key"):
        await store.revoke("unknown")


async def test_the_use_of_a_key_is_noted_at_most_once_a_minute(database: Database) -> None:
    store = KeyStore(database)
    _, secret = await store.create("ci", {Scope.READ})
    await store.verify(secret)
    (first,) = await store.list()
    await store.verify(secret)
    assert first.last_used_at is not None
    assert (await store.list())[0].last_used_at == first.last_used_at


@pytest.mark.parametrize(("name", "scopes"), [(" ", {Scope.READ}), ("x" * 101, {Scope.READ}), ("ci", set[Scope]())])
async def test_a_key_without_name_or_scope_is_refused(database: Database, name: str, scopes: set[Scope]) -> None:
    with pytest.raises(BadInputError):
        await KeyStore(database).create(name, scopes)
