"""Read a session against what was known before it."""

from collections import Counter
from collections.abc import Sequence

from brainops.memory.understanding.extract import extract
from brainops.memory.understanding.model import Change, Event, Reading, Statement, StatementStatus
from brainops.memory.understanding.revision import Revision
from brainops.memory.understanding.scope import scopes_of
from brainops.memory.understanding.words import content

_STANDING = 3_000
"""Of what is known, so many of the newest are held against a session."""


def read_session(events: Sequence[Event], known: Sequence[Statement] = ()) -> Reading:
    """What the session says that is worth keeping, and what it changes of `known`.

    `events` are all events of the session so far, in order. A second reading with more of them gives the same ids; what
    `known` holds of this very session is read anew. Deterministic and without I/O.
    """
    sources = {event.source for event in events}
    before = [statement for statement in known if statement.source not in sources]
    words = Counter(word for statement in before for word in content(statement.text))
    fresh = extract(events, words, scopes_of(before))
    standing = sorted((s for s in before if s.status is StatementStatus.CURRENT), key=lambda s: s.at)[-_STANDING:]
    notes = Revision([*standing, *fresh]).run(fresh_from=len(standing))
    read: list[Statement] = []
    changes: list[Change] = []
    for place, note in enumerate(notes):
        outcome = {"status": note.status, "replaced_by": note.replaced_by, "reason": note.reason}
        if place >= len(standing):
            read.append(note.statement.model_copy(update=outcome))
        elif not note.current:
            changes.append(
                Change(id=note.statement.id, status=note.status, replaced_by=note.replaced_by, reason=note.reason)
            )
    again = {statement.id for statement in read}
    changes.extend(
        Change(id=statement.id, status=StatementStatus.SUPERSEDED, reason="read anew")
        for statement in known
        if statement.source in sources and statement.id not in again
    )
    return Reading(statements=tuple(read), changes=tuple(changes))


def apply(known: Sequence[Statement], reading: Reading) -> list[Statement]:
    """The statements after a reading: changed ones changed, those read again replaced in their place, new ones added."""
    changes = {change.id: change for change in reading.changes}
    read = {statement.id: statement for statement in reading.statements}
    kept: list[Statement] = []
    for statement in known:
        change = changes.get(statement.id)
        if statement.id in read:
            kept.append(read.pop(statement.id))
        elif change is None:
            kept.append(statement)
        else:
            kept.append(statement.model_copy(update=change.model_dump(exclude={"id"})))
    return [*kept, *read.values()]
