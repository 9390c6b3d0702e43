"""Every table of every room, for comparisons between code and database."""

import re

from sqlalchemy import MetaData

from brainops.access.tables import api_keys
from brainops.checks.tables import samples
from brainops.crew.tables import agents
from brainops.database.schema import SCHEMA
from brainops.effects.tables import effects
from brainops.incidents.tables import incidents
from brainops.memory.tables import work_history
from brainops.memory.tier_tables import sessions
from brainops.notify.tables import notices
from brainops.services.tables import services

_ONE_OF_EACH_ROOM = (api_keys, samples, agents, effects, incidents, work_history, sessions, notices, services)
_PARTITION = re.compile(r"samples_\d{8}|memory_chunks_[0-9a-f]{16}")


def target() -> MetaData:
    """The metadata with every table in it, since importing a room's module puts its tables there."""
    return _ONE_OF_EACH_ROOM[0].metadata


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether a comparison looks at the object: our schema only, and not the partitions that are made at run time."""
    if kind == "schema":
        return name == SCHEMA
    return not (kind == "table" and name is not None and _PARTITION.fullmatch(name))
