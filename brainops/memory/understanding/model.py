"""What is understood of a session: statements, and how they stand to one another.

Contracts only. They are kept by the store as they are, so that a later session can be read against them.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from brainops.contracts.base import Contract
from brainops.contracts.message import Role


class Event(Contract):
    """One thing said, called or answered in a session, secrets taken out before."""

    at: datetime
    """Timezone-aware; "until Wednesday" is read from it."""
    role: Role
    tool: str = ""
    """The tool's name where `role` is tool."""
    text: str
    source: str
    """The id of the message that it comes from."""


class StatementKind(StrEnum):
    """What a statement is good for later."""

    DECISION = "decision"
    CONSTRAINT = "constraint"
    """Must, must not, only."""
    PREFERENCE = "preference"
    """How a person wants it done."""
    TODO = "todo"
    """Open work, what blocks it, who has to answer."""
    FIX = "fix"
    """What an error was, and what cured it."""
    STATE = "state"
    """Where things stand."""
    PASSING = "passing"
    """A port, a name, a contact, said once."""
    DONE = "done"
    """Finished work, so that nobody does it again."""


class Speaker(StrEnum):
    """Whose words they are."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Act(StrEnum):
    """What a sentence does in the talk."""

    TELLS = "tells"
    PROPOSES = "proposes"
    """An offer of the assistant; it holds once it was accepted."""
    GUESSES = "guesses"
    """A suspected cause; worth nothing once the cause is known."""
    ACCEPTS = "accepts"
    """A user's yes with words of its own: "fine, the small one"."""
    CONFIRMS = "confirms"
    """The assistant repeats what it was told; stands and falls with that."""
    REQUESTS = "requests"
    """A piece of work is ordered; worth nothing once it was done."""
    ASKS = "asks"
    """A question; worth nothing once it was answered."""


class StatementStatus(StrEnum):
    """Whether a statement still holds."""

    CURRENT = "current"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    DONE = "done"


class Statement(Contract):
    """One sentence worth keeping, as it was said."""

    id: str
    """A hash of source, place and words: the same in every reading."""
    kind: StatementKind
    act: Act = Act.TELLS
    text: str
    speaker: Speaker
    at: datetime
    source: str
    """The message."""
    place: int = 0
    """Which sentence of the message, from 0."""
    replies_to: tuple[str, ...] = ()
    """The messages that it accepts, confirms or answers."""
    scope: str = ""
    """The project, customer or machine that it was said about, where a session had several; empty: the session's own."""
    aside: bool = False
    """The session only digressed to that scope."""
    expires_at: datetime | None = None
    status: StatementStatus = StatementStatus.CURRENT
    replaced_by: str = ""
    """The id of the statement that took its place."""
    reason: str = ""
    """Why it is not current, in a few words."""
    importance: float = Field(default=0.5, ge=0, le=1)

    @property
    def sources(self) -> tuple[str, ...]:
        """All messages it rests on: its own first, then what it replies to."""
        return (self.source, *self.replies_to)


class Change(Contract):
    """What a reading found out about an earlier statement."""

    id: str
    status: StatementStatus
    replaced_by: str = ""
    reason: str = ""


class Reading(Contract):
    """What a session added, and what it changed of what was known."""

    statements: tuple[Statement, ...] = ()
    """In the order in which they were said, each with its present status."""
    changes: tuple[Change, ...] = ()
    """Of statements that were known before."""


class Brief(Contract):
    """What is injected when work is resumed."""

    text: str
    tokens: int
    """Characters by four, rounded up."""
    used: tuple[str, ...] = ()
    """Ids of the statements that it was made of, in the order of the text."""
