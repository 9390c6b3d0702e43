"""The knowledge base of faults, asked in words: what helped when something like this went wrong?

A line of a log is compared as signatures are (`similarity.py`: the same condition in another wording, of another
runtime, on another port); a description in a person's words is looked for in what entries say of themselves. What is
not sure is not said: a wrong remedy costs more than none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import log
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import text

from brainops.memory.ranking import words
from brainops.memory.similarity import SIMILAR_ENOUGH, Likeness, condition, similarity

MOST_COMPARED = 1_000
"""Entries that a query is compared with: the last used ones, and those of people."""

SAID_ENOUGH = 0.6
"""Share of a query's terms, weighed by their rarity among the entries, from which on an entry is about it.

Measured 2026-11-21 on the labelled faults of `tests/unit/signature_pairs.yaml`, each asked by its last log line among all
others of its half, the best three taken: precision 0.76 on the half that was put aside, before its misses were looked at.
They led to the check of conditions in `_compared`; with it 0.80 and recall 0.66 there, 0.71 and 0.78 on the other half, so
that 0.80 is no clean figure any more. Nearly all that is wrong is the same condition in another place (a full folder for a
full disk), which words alone do not tell; an incident, which knows the place, is looked up by its signature
(`KnowledgeStore.lookup`).
"""

_LEAST_SHARED = 2
"""Terms that must be shared; of one word it is not known what it is about."""

_FAULT_IDS = UUID("5a0f2b1e-55c8-5b43-9c7d-0a4f3a8f7d11")

ENTRIES = text(f"""
    SELECT problem_signature, problem_description, solution, remedy, success_rate, usage_count,
        coalesce(last_used, created_at) AS at, kind, check_kind, reason, ending, template, facts
    FROM brainops.knowledge_base WHERE retired_at IS NULL AND coalesce(last_used, created_at) <= :at
    ORDER BY last_used DESC, problem_signature LIMIT {MOST_COMPARED}
""")  # noqa: S608 - made of constants
"""The entries that a query is compared with, as they stood `at` a moment."""


@dataclass(frozen=True)
class FaultFound:
    """An entry of the knowledge base that a query is about."""

    id: UUID
    signature: str
    """Its key: `brainops knowledge show KEY`."""
    text: str
    at: datetime
    total: float
    line: float
    """How like the query is to the entry's log line, as signatures are compared."""
    said: float
    """How much of the query the entry says in its own words."""
    success_rate: float


def among(rows: Sequence[Mapping[str, Any]], query: str) -> list[FaultFound]:
    """Those of `rows` (of `ENTRIES`) that `query` is about, surest first.

    Costs some 0.3 ms an entry at its first sight and 20 µs later [measured]: call it in a thread.
    """
    if not query.strip():
        return []
    documents = [_terms(_document(row)) for row in rows]
    # A word that no entry has (a service, a host) says no more than one that a single entry has.
    asked = {
        term: _rarity(len(rows), max(1, sum(term in document for document in documents)))
        for term in dict.fromkeys(words.terms(query))
    }
    found = [
        fault
        for row, document in zip(rows, documents, strict=True)
        if (fault := _compared(row, query, asked, document)) is not None
    ]
    return sorted(found, key=lambda fault: (-fault.total, -fault.success_rate, fault.signature))


@lru_cache(maxsize=2 * MOST_COMPARED)
def _terms(document: str) -> frozenset[str]:
    """Entries change seldom and are compared often."""
    return frozenset(words.terms(document))


def _rarity(entries: int, having: int) -> float:
    return log(1 + (entries - having + 0.5) / (having + 0.5))


def _compared(
    row: Mapping[str, Any], query: str, asked: Mapping[str, float], document: frozenset[str]
) -> FaultFound | None:
    line = _line(row, query)
    if line < SIMILAR_ENOUGH and condition(query) and condition(row["template"]):
        return None  # lines of one program share most of their words, whatever went wrong
    shared = asked.keys() & document
    everything = sum(asked.values())
    said = sum(asked[term] for term in shared) / everything if len(shared) >= _LEAST_SHARED else 0.0
    if line < SIMILAR_ENOUGH and said < SAID_ENOUGH:
        return None
    return FaultFound(
        id=uuid5(_FAULT_IDS, row["problem_signature"]),
        signature=row["problem_signature"],
        text=f"{row['problem_description']} Helped: {row['solution']}",
        at=row["at"],
        total=max(line, said),
        line=line,
        said=said,
        success_rate=row["success_rate"],
    )


def _line(row: Mapping[str, Any], query: str) -> float:
    """The query as if it were the log line of the same kind of fault."""
    if not row["template"]:
        return 0.0
    # Which declared thing is broken is not known of a query, so what a line is about must agree.
    entry = Likeness(kind=row["kind"], check=row["check_kind"], reason=row["reason"], template=row["template"])
    return similarity(entry, entry.model_copy(update={"template": query}))


def _document(row: Mapping[str, Any]) -> str:
    facts = " ".join(row["facts"])
    return f"{row['problem_description']} {row['template']} {facts} {row['solution']} {row['remedy']} {row['kind']}"
