"""What the checker of the durability of memory takes for lost, doubled and out of order."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

from benchmarks.memory_durability import Promised, Verdict, Writer, check
from brainops.contracts.message import Role, StoredMessage, TextPart

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def stored(id_: UUID, seq: int, text: str) -> StoredMessage:
    return StoredMessage(
        id=id_,
        session_id="s",
        seq=seq,
        role=Role.USER,
        parts=(TextPart(text=text),),
        at=MOMENT,
        created_at=MOMENT,
    )


def judged(promised: list[Promised], found: list[StoredMessage], *lost_ages: float) -> Verdict:
    writer = SimpleNamespace(session_id="s", promised=promised, streamed=0, lost_ages=list(lost_ages))
    verdict = Verdict()
    check(cast("Writer", writer), found, verdict)
    return verdict


def test_what_is_there_once_and_in_its_place_is_no_complaint() -> None:
    one, two = uuid4(), uuid4()
    verdict = judged([Promised(one, 1, "a"), Promised(two, 2, "b")], [stored(one, 1, "a"), stored(two, 2, "b")], 1.5)
    assert (verdict.lost, verdict.doubled, verdict.out_of_order) == ([], [], [])
    assert verdict.oldest_lost_partial == 1.5


def test_a_message_that_is_gone_or_cut_is_lost() -> None:
    one, two = uuid4(), uuid4()
    verdict = judged([Promised(one, 1, "a"), Promised(two, 2, "bcd")], [stored(two, 2, "bc")])
    assert len(verdict.lost) == 2
    assert verdict.out_of_order  # the first place is empty


def test_a_message_that_is_there_twice_or_was_never_promised_is_doubled() -> None:
    one = uuid4()
    verdict = judged([Promised(one, 1, "a")], [stored(one, 1, "a"), stored(uuid4(), 2, "a")])
    assert len(verdict.doubled) == 2


def test_messages_in_another_order_than_they_were_told_are_noticed() -> None:
    one, two = uuid4(), uuid4()
    verdict = judged([Promised(one, 2, "a"), Promised(two, 1, "b")], [stored(two, 1, "b"), stored(one, 2, "a")])
    assert verdict.out_of_order
