"""`brainops knowledge`: what was learned about faults."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table

from brainops.memory.knowledge import KnowledgeRow, KnowledgeStore
from interfaces.cli.context import complete, connect
from interfaces.cli.display import ago, facts, plain, print_json, say, table, when

Key = Annotated[str | None, typer.Argument(metavar="[KEY]", help="A signature, as listed: all that is known of it.")]


class KnowledgeList(BaseModel):
    """`brainops knowledge --json`."""

    knowledge: list[KnowledgeRow]


def knowledge(
    key: Key = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="One JSON document for programs.")] = False,
) -> None:
    """List the faults that are known and what helps, or show one."""
    if key is None:
        complete(_list(limit, json))
    else:
        complete(_tell(key, json))


async def _list(limit: int, json: bool) -> None:
    async with connect() as stack:
        rows = list(await KnowledgeStore(stack.database).list(limit))
    if json:
        print_json(KnowledgeList(knowledge=rows))
    elif rows:
        say(knowledge_table(rows, datetime.now(UTC)))
    else:
        say("Nothing has been learned yet: the first healed incident is the first entry.")


def knowledge_table(rows: Sequence[KnowledgeRow], now: datetime) -> Table:
    """What is known, for people."""
    cells = [
        (
            row.problem_signature,
            row.remedy.replace("_", " "),
            f"{row.success_rate * 100:.0f} %",
            str(row.usage_count),
            ago(row.last_used, now),
        )
        for row in rows
    ]
    return table("Knowledge", ("signature", "helps", "how often", "used", "last"), cells, elastic="signature")


async def _tell(key: str, json: bool) -> None:
    async with connect() as stack:
        row = await KnowledgeStore(stack.database).get(key)
    if json:
        print_json(row)
        return
    now = datetime.now(UTC)
    say(
        plain(row.problem_signature, "bold"),
        facts(
            [
                ("problem", row.problem_description),
                ("solution", row.solution),
                ("remedy", row.remedy.replace("_", " ")),
                ("helped", f"{row.success_rate * 100:.0f} % of {row.usage_count} times"),
                ("last used", when(row.last_used, now)),
                ("learned", when(row.created_at, now)),
            ]
        ),
    )
