"""The postgres check and the end of sessions in the way, against a real server."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from agents.system_monitor import CHARTER
from brainops.checks.base import Subject
from brainops.checks.probe import Prober
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.action import ActionRequest, EndSession
from brainops.contracts.agent import ActionClass
from brainops.contracts.check import ProbeResult, Reason
from brainops.contracts.incident import Candidate, Evidence, SessionFacts
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.database.engine import Database
from brainops.database.urls import connection_string
from brainops.errors import NotAllowedError
from brainops.incidents.sessions import session_facts
from brainops.remedies.base import RemedyContext
from brainops.remedies.performer import ActionPerformer
from brainops.remedies.registry import candidates
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.storage.objects import ObjectStore

Connection = psycopg.AsyncConnection[tuple[object, ...]]


@pytest.fixture
def url(owner_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The owner's address (a superuser), also as the variable that the checks name."""
    text = connection_string(owner_url)
    monkeypatch.setenv("SHOP_DATABASE_URL", text)
    return text


@pytest_asyncio.fixture
async def prober(tmp_path: Path) -> AsyncGenerator[Prober]:
    async with Prober(HostServices(StatePaths(tmp_path / "state"), tmp_path), tmp_path) as opened:
        yield opened


def service(**check: object) -> Service:
    declared = {"kind": "postgres", "url": "${SHOP_DATABASE_URL}", "timeout": "10s", **check}
    return Service.model_validate({"run": {"kind": "external"}, "checks": {"db": declared}, "autonomy": "act"})


async def look(prober: Prober, shop: Service) -> ProbeResult:
    return await prober.look(Subject("shop", "db", shop), shop.checks["db"])


@pytest.mark.parametrize(
    ("check", "reason", "detail"),
    [
        ({}, Reason.NONE, ""),
        ({"query": "SELECT 3 AS waiting", "conditions": ["[RESULT] < 5"]}, Reason.NONE, ""),
        ({"query": "SELECT 7;", "conditions": ["[RESULT] < 5"]}, Reason.QUERY, "[RESULT] is 7, wanted < 5"),
        ({"query": "SELECT '{\"a\": [1]}'::jsonb", "conditions": ["len([RESULT].a) == 1"]}, Reason.NONE, ""),
        ({"query": "SELECT 1 FROM nowhere"}, Reason.QUERY, 'relation "nowhere" does not exist'),
        ({"query": "DELETE FROM brainops.checks"}, Reason.QUERY, "the query fails"),
        ({"query": "SELECT 1) t; COMMIT; CREATE TABLE gotcha (); SELECT (1"}, Reason.QUERY, "the query fails"),
        ({"query": "SELECT nextval('gotcha')"}, Reason.QUERY, "the query fails"),
        ({"query": "SELECT pg_sleep(30)", "timeout": "300ms"}, Reason.TIMEOUT, ""),
        ({"query": "SELECT repeat('x', 10000000)", "conditions": ["len([RESULT]) < 70000"]}, Reason.NONE, ""),
        ({"max_connections_used": "0%"}, Reason.CONNECTIONS, "% of max_connections are used, more than 0 %"),
        ({"max_size": "1kB"}, Reason.DISK, "the database has"),
        ({"max_lag": "10s"}, Reason.LAG, "no standby is connected"),
        ({"url": "postgresql://nobody:hunter2hunter2@127.0.0.1:1/x"}, Reason.REFUSED, "refused"),
        ({"url": "nonsense hunter2hunter2"}, Reason.ERROR, "cannot be read"),
        ({"url": "${NOT_SET_ANYWHERE}"}, Reason.ERROR, "NOT_SET_ANYWHERE is not set"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("url")
async def test_what_the_server_says_is_judged(
    check: dict[str, object], reason: Reason, detail: str, prober: Prober
) -> None:
    seen = await look(prober, service(**check))
    assert seen.reason is reason, seen
    assert detail in seen.detail
    assert "hunter2" not in seen.detail


async def test_one_connection_is_kept_and_made_anew_when_the_server_ends_it(url: str, prober: Prober) -> None:
    shop = service(query="SELECT pg_backend_pid()", conditions=["[RESULT] == 0"])
    first, second = await look(prober, shop), await look(prober, shop)
    assert first.detail == second.detail
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
        await other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'brainops' AND datname = current_database()"
        )
    third = await look(prober, shop)
    assert third.reason is Reason.QUERY
    assert third.detail != first.detail


async def test_who_may_not_see_others_is_told_what_to_grant(url: str, prober: Prober) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as owner:
        await owner.execute("CREATE ROLE watcher")
        try:
            await owner.execute("SET ROLE watcher")
            options = f"{url}{'&' if '?' in url else '?'}options=-c%20role%3Dwatcher"
            seen = await look(prober, service(url=options, max_transaction_age="1h"))
        finally:
            await prober.__aexit__(None, None, None)
            await owner.execute("RESET ROLE")
            await owner.execute("DROP ROLE watcher")
    assert seen.reason is Reason.ERROR
    assert "GRANT pg_read_all_stats" in seen.detail


@pytest_asyncio.fixture
async def idle_in_transaction(url: str) -> AsyncGenerator[Connection]:
    """A session of a user who is no superuser, idle in a transaction that holds a lock."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as owner:
        await owner.execute("CREATE ROLE shopper LOGIN PASSWORD 'shopping'")
        try:
            await owner.execute("CREATE TABLE public.carts (id int)")
            await owner.execute("GRANT ALL ON public.carts TO shopper")
            session = await psycopg.AsyncConnection.connect(
                url, user="shopper", password="shopping", application_name="shop-worker"
            )
            try:
                await session.execute("LOCK TABLE public.carts")
                yield session
            finally:
                await session.close()
        finally:
            await owner.execute("DROP TABLE IF EXISTS public.carts")
            await owner.execute("DROP OWNED BY shopper")
            await owner.execute("DROP ROLE shopper")


def proposed(shop: Service, sessions: tuple[SessionFacts, ...]) -> tuple[Candidate, ...]:
    evidence = Evidence(
        service="shop",
        check="db",
        reason=Reason.OLD_TRANSACTION,
        captured_at=datetime.now(UTC),
        state=ServiceState(service="shop", status=ServiceStatus.UNSEEN),
        sessions=sessions,
    )
    found = candidates(evidence, shop, RemedyContext("shop", {"shop": shop}))
    return tuple(one for one in found if one.remedy == "end_session")


def performer(database: Database, folder: Path, shop: Service) -> ActionPerformer:
    paths = StatePaths(folder / "state")
    objects = ObjectStore(paths.objects)
    known_good = KnownGoodFiles(KnownGoodStore(database), objects, folder)
    host = HostServices(paths, folder)
    return ActionPerformer(host, known_good, {"shop": shop}, paths, folder, objects=objects, charter=CHARTER.actions)


def asked(action: EndSession) -> ActionRequest:
    return ActionRequest(plan_id=uuid4(), step=1, action_class=ActionClass.END_SESSION, service="shop", action=action)


def beat() -> None:
    """Nobody waits for it here."""


async def test_a_session_idle_in_a_transaction_is_found_and_ended(
    idle_in_transaction: Connection, url: str, database: Database, prober: Prober, tmp_path: Path
) -> None:
    shop = service(max_transaction_age="10ms")
    seen = await look(prober, shop)
    assert seen.reason is Reason.OLD_TRANSACTION, seen
    async with await psycopg.AsyncConnection.connect(url, application_name="waiter", autocommit=True) as waiter:
        waiting = asyncio.create_task(waiter.execute("SELECT count(*) FROM public.carts"))
        facts = await session_facts(shop)
        while not any(one.blocks for one in facts):
            await asyncio.sleep(0.02)
            facts = await session_facts(shop)
        (found,) = (one for one in facts if one.user == "shopper")
        assert (found.state, found.blocks, found.application) == ("idle in transaction", 1, "shop-worker")
        (candidate,) = proposed(shop, facts)
        assert candidate.explains
        assert "1 other session wait" in candidate.cause
        action = candidate.actions[0]
        assert isinstance(action, EndSession)
        acting = performer(database, tmp_path, shop)
        assert await acting.reconcile(asked(action), "plan.1.1") is None
        done = await acting.perform(asked(action), "plan.1.1", beat)
        assert done.ok, done
        assert "ended database session" in done.summary
        assert await acting.reconcile(asked(action), "plan.1.1") is not None
        assert (await acting.perform(asked(action), "plan.1.1", beat)).ok  # a repetition does no more
        await waiting
    assert idle_in_transaction.closed or (await look(prober, shop)).ok


async def test_sessions_that_are_not_ours_to_end_are_left_alone(
    idle_in_transaction: Connection, url: str, database: Database, tmp_path: Path
) -> None:
    strict, lax = service(max_transaction_age="10ms"), service(max_transaction_age="1h")
    facts = await session_facts(strict)
    (found,) = (one for one in facts if one.user == "shopper")
    assert proposed(lax, facts) == ()
    superuser = await psycopg.AsyncConnection.connect(url, application_name="someone")
    try:
        await superuser.execute("SELECT 1")
        (protected,) = (one for one in await session_facts(strict) if one.application == "someone")
        assert protected.protected
        assert proposed(strict, (protected,)) == ()
        acting = performer(database, tmp_path, strict)
        action = EndSession(service="shop", check="db", pid=protected.pid, backend_start=protected.backend_start)
        with pytest.raises(NotAllowedError, match="superuser"):
            await acting.perform(asked(action), "plan.1.1", beat)
        with pytest.raises(NotAllowedError, match="no postgres check 'other'"):
            await acting.perform(asked(action.model_copy(update={"check": "other"})), "plan.1.1", beat)
        # the pid was given to another session since: nothing is ended
        reused = EndSession(service="shop", check="db", pid=found.pid, backend_start="2020-01-01T00:00:00.000000Z")
        assert (await acting.perform(asked(reused), "plan.1.1", beat)).ok
        harmless = EndSession(service="shop", check="db", pid=found.pid, backend_start=found.backend_start)
        left = await performer(database, tmp_path, lax).perform(asked(harmless), "plan.1.1", beat)
        assert not left.ok
        await idle_in_transaction.execute("SELECT 1")  # it lives
    finally:
        await superuser.close()
