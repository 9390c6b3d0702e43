"""Sessions of a database that stand in the way: seen through the postgres checks of the service that has a fault."""

import os
from collections.abc import Mapping

import psycopg

from brainops.config.checks import PostgresCheck
from brainops.config.models import Service
from brainops.contracts.incident import SessionFacts
from brainops.errors import ConfigError
from brainops.services.postgres import Login, connected, sessions_in_the_way

BLOCKING_SECONDS = 10.0
"""A session that is idle in a transaction and that others wait for stands in the way after this, whatever is allowed."""


async def session_facts(service: Service, environment: Mapping[str, str] = os.environ) -> tuple[SessionFacts, ...]:
    """Sessions in the way at each server that a postgres check of the service names. Nothing where it does not answer."""
    facts: list[SessionFacts] = []
    for name, check in service.checks.items():
        if not isinstance(check, PostgresCheck):
            continue
        try:
            async with connected(Login.of(check, environment)) as connection:
                facts += await sessions_in_the_way(connection, name)
        except (psycopg.Error, ConfigError):  # the check itself says what is wrong with it
            continue
    return tuple(facts)


def at_fault(session: SessionFacts, check: PostgresCheck) -> bool:
    """Whether a session does harm that only its end can stop, by what `check` allows.

    One that is idle in a transaction too long, or that others wait for; one that works only if others wait for it and
    it takes longer than is allowed.
    """
    allowed = check.max_transaction_age.total_seconds() if check.max_transaction_age is not None else None
    too_long = allowed is not None and session.seconds > allowed
    if session.state.startswith("idle in transaction"):
        return too_long or (session.blocks > 0 and session.seconds > BLOCKING_SECONDS)
    return session.blocks > 0 and too_long
