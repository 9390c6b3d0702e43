"""End a database session that is idle in a transaction, or that others wait for."""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import psycopg

from brainops.config.checks import PostgresCheck
from brainops.config.models import Service
from brainops.contracts.action import ActionResult, EndSession
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence, SessionFacts
from brainops.errors import ActionError, NotAllowedError, UnavailableError
from brainops.incidents.sessions import at_fault
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.services.postgres import Connection, Login, connected, exists, session, terminate

MOST_AT_ONCE = 5
"""Sessions that one attempt ends; what is left then is found by the next look."""

_ANSWER_SECONDS = 10.0
_END_SECONDS = 5.0


class EndSessionHandler(Handler[EndSession]):
    """Ends the session that the action names, if it is still that one and still does harm."""

    action = EndSession

    def authorize(self, action: EndSession, call: Call, /) -> None:
        _declared(action, call)

    async def perform(self, action: EndSession, call: Call, /) -> ActionResult:
        check = _declared(action, call)
        async with _logged_in(action, check) as connection:
            found = await session(connection, action.check, action.pid, action.backend_start)
            if found is None:
                return await self._left_its_transaction(action, connection)
            if found.protected or found.own:
                whose = "BrainOps' own" if found.own else "a superuser's, or replicates"
                raise NotAllowedError(
                    f"session {action.pid} of {found.user} is {whose} and is never ended by BrainOps; end it yourself"
                )
            if not at_fault(found, check):
                raise ActionError(f"session {action.pid} works again and blocks nobody; it was left alone")
            if not await terminate(connection, action.pid, action.backend_start, _END_SECONDS):
                raise ActionError(
                    f"session {action.pid} was told to end and is still there after {_END_SECONDS:.0f} s; it rolls back"
                )
        return ActionResult(ok=True, summary=f"ended {_described(found)}"[:500])

    async def reconcile(self, action: EndSession, call: Call, /) -> ActionResult | None:
        async with _logged_in(action, _declared(action, call)) as connection:
            if await exists(connection, action.pid, action.backend_start):
                return None
        return _is_gone(action)

    async def _left_its_transaction(self, action: EndSession, connection: Connection) -> ActionResult:
        if await exists(connection, action.pid, action.backend_start):
            return ActionResult(ok=True, summary=f"session {action.pid} has ended its transaction by itself")
        return _is_gone(action)


class EndDatabaseSession(Remedy):
    """End the sessions that are idle in a transaction for too long or that others wait for, oldest first."""

    name = "end_session"
    action_class = ActionClass.END_SESSION
    cost = 2
    rank = 20
    handlers = (EndSessionHandler,)
    uses = (EndSession,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        harmful = [found for found in evidence.sessions if _may_be_ended(found, service)]
        harmful.sort(key=lambda found: -found.seconds)
        if not harmful:
            return ()
        ends = [
            EndSession(service=context.service, check=found.check, pid=found.pid, backend_start=found.backend_start)
            for found in harmful[:MOST_AT_ONCE]
        ]
        blocks = any(found.blocks for found in harmful)
        explains = blocks or evidence.check in {found.check for found in harmful}
        # what hangs at a lock hangs again after a restart
        rules_out = ("restart", "restart_dependency") if explains else ()
        return (self.candidate(ends, _described(harmful[0]), explains=explains, rules_out=rules_out),)


def _may_be_ended(found: SessionFacts, service: Service) -> bool:
    check = service.checks.get(found.check)
    return isinstance(check, PostgresCheck) and not found.own and not found.protected and at_fault(found, check)


def _described(found: SessionFacts) -> str:
    who = f"{found.user}{f' ({found.application})' if found.application else ''}"
    waiting = f"; {found.blocks} other session{'s' if found.blocks > 1 else ''} wait for it" if found.blocks else ""
    return f"database session {found.pid} of {who} is {found.state} for {found.seconds:.0f} s{waiting}"


def _is_gone(action: EndSession) -> ActionResult:
    return ActionResult(ok=True, summary=f"session {action.pid} is gone")


def _declared(action: EndSession, call: Call) -> PostgresCheck:
    check = call.service.checks.get(action.check)
    if not isinstance(check, PostgresCheck):
        raise NotAllowedError(
            f"{action.service} has no postgres check {action.check[:63]!r}; "
            f"declare it under services.{action.service}.checks"
        )
    return check


@asynccontextmanager
async def _logged_in(action: EndSession, check: PostgresCheck) -> AsyncGenerator[Connection]:
    """A session at the server of the check."""
    login = Login.of(check, os.environ)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS), connected(login) as connection:
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        raise ActionError(
            f"session {action.pid} may not be ended by the user of the check {action.check}; GRANT pg_signal_backend TO it"
        ) from error
    except psycopg.OperationalError as error:
        raise UnavailableError(f"the server of the check {action.check}: {login.words(error)[1]}") from error
    except psycopg.Error as error:
        raise ActionError(f"the server of the check {action.check}: {login.words(error)[1]}") from error
    except TimeoutError as error:
        raise UnavailableError(f"the server of the check {action.check} does not answer") from error
