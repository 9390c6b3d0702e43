"""Times that come in: what Postgres or Python could not read back is refused, all others are kept in UTC."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from brainops.contracts.memory import NewMemory, Restore


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1899-12-31T23:59:59Z", "9999-06-01T00:00:00Z"]
)
def test_a_time_at_which_nothing_can_have_been_said_is_refused(at: str) -> None:
    with pytest.raises(ValidationError, match="from 1900 to 9998"):
        Restore.model_validate({"at": at})


def test_odd_offsets_become_utc_and_never_is_a_time_to_expire() -> None:
    memory = NewMemory.model_validate(
        {"content": "x", "at": "2026-03-02T10:00:00+17:30", "expires_at": "9999-12-31T23:59:59Z"}
    )
    assert memory.at is not None
    assert (memory.at, memory.at.tzinfo) == (datetime(2026, 3, 1, 16, 30, tzinfo=UTC), UTC)
    assert memory.expires_at is not None
