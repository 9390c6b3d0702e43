"""Work claims, on a real Postgres."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text

from brainops.contracts import memory as m
from brainops.database.engine import Database
from brainops.errors import BadInputError, ConflictError, NotFoundError
from brainops.memory.ranking.embedding import WordLlamaEmbedder
from brainops.memory.work import WorkStore
from brainops.memory.work_likeness import WorkItem
from brainops.memory.work_states import WorkState

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SHOP = "project:shop"


@pytest.fixture
def store(database: Database) -> WorkStore:
    return WorkStore(database, None)


@pytest_asyncio.fixture
async def elsewhere(app_url: str) -> AsyncGenerator[WorkStore]:
    """The same work, seen by another process."""
    database = Database(app_url)
    yield WorkStore(database, None)
    await database.close()


async def _claim(store: WorkStore, description: str, by: str = "ada", **others: object) -> m.WorkClaimed:
    request = {"description": description, "claimed_by": by, "scope": SHOP} | others
    return await store.claim(m.WorkClaim.model_validate(request))


async def _found(store: WorkStore, description: str, scope: str = SHOP) -> m.WorkMatch | None:
    checked = await store.check(m.WorkCheck(description=description, scope=scope))
    assert checked.duplicate == (checked.match is not None)
    return checked.match


async def _run_out(database: Database) -> None:
    await database.write(text("UPDATE brainops.work_items SET lease_until = now() - interval '1 s'"), {})


async def test_a_claim_is_granted_once_and_the_second_is_told_whose_it_is(store: WorkStore) -> None:
    first = await _claim(store, "Add dark mode to the settings page", session_id="s")
    second = await _claim(store, "add dark mode to the  settings page.", by="bob")
    assert (first.granted, second.granted) == (True, False)
    assert second.item == first.item
    assert second.match is not None
    assert (second.match.item.claimed_by, second.match.likeness) == ("ada", 1.0)


async def test_other_words_are_the_same_work(store: WorkStore) -> None:
    await _claim(store, "Add dark mode")
    refused = await _claim(store, "implement dark theme", by="bob")
    assert not refused.granted
    assert (await _claim(store, "Translate the invoice mails", by="bob")).granted


async def test_vectors_of_the_default_embedder_are_used(database: Database) -> None:
    store = WorkStore(database, WordLlamaEmbedder())
    await _claim(store, "Add dark mode")
    assert not (await _claim(store, "implement dark theme", by="bob")).granted


@pytest.mark.parametrize("words", [("Add dark mode", "implement dark theme"), ("Add dark mode", "Add dark mode")])
async def test_of_two_at_once_one_is_granted(store: WorkStore, elsewhere: WorkStore, words: tuple[str, str]) -> None:
    for number in range(5):
        scope = f"project:{number}"
        claims = await asyncio.gather(
            *(
                _claim(one, words[n % 2], by=f"agent {n}", scope=scope)
                for n in range(6)
                for one in (store, elsewhere)[n % 2 :][:1]
            )
        )
        assert sum(claim.granted for claim in claims) == 1
        assert len({claim.item.id for claim in claims}) == 1


async def test_work_belongs_to_its_scope(store: WorkStore) -> None:
    await _claim(store, "Add dark mode")
    assert (await _claim(store, "Add dark mode", by="bob", scope="project:blog")).granted
    assert await _found(store, "Add dark mode", "project:wiki") is None


async def test_the_owner_renews_by_claiming_again(store: WorkStore, database: Database) -> None:
    first = await _claim(store, "Add dark mode", lease_minutes=5)
    again = await _claim(store, "implement dark theme", lease_minutes=60)
    assert again.granted
    assert again.item.id == first.item.id
    assert first.item.lease_until is not None
    assert again.item.lease_until is not None
    assert again.item.lease_until - first.item.lease_until > timedelta(minutes=50)
    assert len(await database.read(text("SELECT id FROM brainops.work_items"))) == 1


async def test_a_claim_that_ran_out_may_be_taken(store: WorkStore, database: Database) -> None:
    first = await _claim(store, "Add dark mode")
    await _run_out(database)
    assert await _found(store, "Add dark mode") is None
    second = await _claim(store, "Add dark mode", by="bob")
    assert second.granted
    assert second.item.id != first.item.id


async def test_what_is_done_is_not_claimed_unless_it_is_wanted_again(store: WorkStore) -> None:
    claim = await _claim(store, "Add dark mode")
    done = await store.done(m.WorkDone(id=claim.item.id, outcome="merged", at=NOON))
    assert (done.state, done.outcome, done.done_at, done.lease_until) == (m.WorkState.DONE, "merged", NOON, None)
    refused = await _claim(store, "implement dark theme", by="bob")
    assert (refused.granted, refused.item.state) == (False, m.WorkState.DONE)
    assert (await _claim(store, "implement dark theme", by="bob", again=True)).granted
    assert not (await _claim(store, "Add dark mode", by="eve", again=True)).granted


async def test_what_is_given_up_is_free(store: WorkStore) -> None:
    claim = await _claim(store, "Add dark mode")
    assert (await store.done(m.WorkDone(id=claim.item.id, released=True))).state is m.WorkState.RELEASED
    assert (await _claim(store, "Add dark mode", by="bob")).granted


async def test_being_done_twice_changes_nothing(store: WorkStore) -> None:
    claim = await _claim(store, "Add dark mode")
    first = await store.done(m.WorkDone(id=claim.item.id, outcome="merged", at=NOON))
    assert await store.done(m.WorkDone(id=claim.item.id, outcome="other")) == first


async def test_done_by_its_description_ends_ones_own_claim_only(store: WorkStore) -> None:
    mine, theirs = await _claim(store, "Add dark mode"), await _claim(store, "Rotate the signing key", by="bob")
    done = await store.done(m.WorkDone(description="implement dark theme", scope=SHOP, claimed_by="ada"))
    assert (done.id, done.state) == (mine.item.id, m.WorkState.DONE)
    await store.done(m.WorkDone(description="Rotate the signing key", scope=SHOP, claimed_by="ada"))
    with pytest.raises(ConflictError, match="is claimed by 'bob', not by 'ada'"):
        await store.done(m.WorkDone(id=theirs.item.id, claimed_by="ada"))


async def test_work_that_was_never_claimed_is_written_down_once(store: WorkStore, database: Database) -> None:
    for outcome in ("", "merged", ""):
        done = await store.done(m.WorkDone(description="Add dark mode", scope=SHOP, outcome=outcome, at=NOON))
    assert (done.outcome, done.done_at) == ("merged", NOON)
    assert len(await database.read(text("SELECT id FROM brainops.work_items"))) == 1
    match = await _found(store, "implement dark theme")
    assert match is not None
    assert match.item.id == done.id


async def test_what_sessions_report_is_known_and_read_again_changes_nothing(
    store: WorkStore, database: Database
) -> None:
    reported = [
        WorkItem(
            text="The dark mode is in and tested.", state=WorkState.DONE, at=NOON, context="Add dark mode.", told=True
        ),
        WorkItem(text="We should rotate the signing key next week.", state=WorkState.PLANNED, at=NOON, told=True),
    ]
    for _ in range(2):
        await store.note(SHOP, [*reported, reported[0]], "s")
    assert len(await database.read(text("SELECT id FROM brainops.work_items"))) == 2
    match = await _found(store, "implement dark theme")
    assert match is not None
    assert (match.item.state, match.item.session_id, match.item.done_at) == (m.WorkState.DONE, "s", NOON)
    assert await _found(store, "Rotate the signing key") is None


async def test_talk_does_not_crowd_out_claims(store: WorkStore) -> None:
    await _claim(store, "Add dark mode")
    later = datetime.now(UTC) + timedelta(hours=1)
    talk = [WorkItem(text=f"Checked log {n}.", state=WorkState.DONE, at=later, told=True) for n in range(1_500)]
    await store.note(SHOP, talk, "s")
    match = await _found(store, "implement dark theme")
    assert match is not None
    assert match.item.claimed_by == "ada"


async def test_words_that_no_table_knows_are_compared_letter_by_letter(store: WorkStore) -> None:
    assert (await _claim(store, "暗い画面を追加")).granted
    assert not (await _claim(store, "暗い画面を追加", by="bob")).granted


async def test_wrong_calls_are_refused(store: WorkStore) -> None:
    with pytest.raises(BadInputError, match="description: empty"):
        await _claim(store, "")
    with pytest.raises(BadInputError, match="claimed_by: blank"):
        await _claim(store, "Add dark mode", by=" ")
    with pytest.raises(BadInputError, match="id, description: neither is given"):
        await store.done(m.WorkDone())
    with pytest.raises(NotFoundError, match="there is no work"):
        await store.done(m.WorkDone(id=uuid4()))


async def test_another_tenant_may_do_the_same(store: WorkStore, app_url: str) -> None:
    claim = await _claim(store, "Add dark mode")
    theirs = Database(app_url, tenant_id="acme")
    other = WorkStore(theirs, None)
    assert await _found(other, "Add dark mode") is None
    assert (await _claim(other, "Add dark mode", by="bob")).granted
    with pytest.raises(NotFoundError):
        await other.done(m.WorkDone(id=claim.item.id))
    await theirs.close()
