"""Memory for people: what was recalled, one memory, lists, receipts, and how an answer came about."""

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from brainops.config.quantities import format_size
from brainops.contracts.memory import Forgotten, Memory, Recalled, RecallResult, Stats
from brainops.contracts.message import StoredMessage
from interfaces.cli.display import ago, duration, facts, plain, state, table, when
from interfaces.cli.memory_access import SHORT_ID, shown_id

LONGEST_PASSAGE = 320
"""Characters of a result on the screen; `show` gives all of it."""

_PARTS = {
    "lexical": "words",
    "neighbours": "what stands around",
    "semantic": "meaning",
    "session": "session",
    "recency": "recency",
    "importance": "importance",
    "name": "name",
}
"""Parts of a score, as people call them."""


def one_line(text: str, most: int) -> str:
    """`text` in one line of `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def numbered(title: str, found: Sequence[Recalled], now: datetime, *, parts: bool = False) -> Table:
    """Results, each with where it comes from; with `parts`, how its score is made."""
    made = Table.grid(padding=(0, 1))
    made.title, made.title_justify, made.title_style = plain(title) if title else None, "left", "bold"
    made.add_column(justify="right", style="dim", no_wrap=True)
    made.add_column(overflow="fold", ratio=1)
    for number, one in enumerate(found, start=1):
        score = f"{one.score.total:.2f}" if one.score.total else ""
        said = (score, _kind(one.kind.value, one.type), ago(one.at, now), _place(one))
        about = f"{shown_id(one.id)}  {' · '.join(part for part in said if part)}"
        lines = [plain(one_line(one.text, LONGEST_PASSAGE)), plain(about, "dim")]
        if parts:
            lines.append(plain(_parts(one), "dim"))
        made.add_row(str(number), Text("\n").join(lines))
    return made


def recalled_views(answer: RecallResult, now: datetime, *, parts: bool = False) -> list[Table | Text]:
    """An answer for people: what is given whatever was asked, then what was found."""
    views: list[Table | Text] = []
    if answer.persona:
        views += [plain(answer.persona), Text()]
    for title, found in (("Pinned", answer.pinned), ("Open questions", answer.questions)):
        if found:
            views += [numbered(title, found, now), Text()]
    if answer.results:
        views.append(numbered("", answer.results, now, parts=parts))
    if answer.behind:
        views.append(plain(f"{answer.behind:,} passages wait for their meaning and are found by words only.", "dim"))
    return views


def _kind(kind: str, type_: str) -> str:
    return type_.replace("_", " ") if type_ and type_ != kind else kind.replace("_", " ")


def _place(one: Recalled) -> str:
    if one.session_id:
        return f"session {one.session_id[:SHORT_ID]}{f' #{one.seq}' if one.seq else ''}"
    return one.source or one.scope


def _parts(one: Recalled) -> str:
    told = [(name, getattr(one.score, part)) for part, name in _PARTS.items()]
    return " · ".join(f"{name} {value:.2f}" for name, value in told if value)


def memory_table(memories: Sequence[Memory], now: datetime, *, scopes: bool) -> Table:
    """Memories, one a row."""
    rows = [
        (
            shown_id(one.id),
            one.type.replace("_", " "),
            with_scope(plain(one_line(one.content, 200)), ", ".join(one.scopes) if scopes else ""),
            condition(one, now),
            ago(one.at, now),
        )
        for one in memories
    ]
    return table("Memories", ("id", "type", "what", "state", "told"), rows, elastic="what")


def with_scope(what: Text, scope: str) -> Text:
    """A cell with the scope below it, where it is not the same for all."""
    return Text("\n").join((what, plain(scope, "dim"))) if scope else what


def condition(memory: Memory, now: datetime) -> Text:
    """Whether it holds."""
    if memory.superseded_by is not None:
        return plain("superseded", "dim")
    if memory.resolved_at is not None:
        return plain("resolved", "dim")
    if memory.valid_to is not None and memory.valid_to <= now:
        return plain("past", "dim")
    if memory.expires_at is not None and memory.expires_at <= now:
        return state("expired")
    return plain("pinned", "yellow") if memory.pinned else plain("current", "green")


def memory_view(memory: Memory, now: datetime) -> Table:
    """All of one memory."""
    came = memory.provenance
    session = f"{came.session_id}, {len(came.message_ids)} messages" if came.message_ids else came.session_id
    return facts(
        [
            ("id", str(memory.id)),
            ("kind", _pair(memory.kind.value, memory.type)),
            ("state", condition(memory, now)),
            ("scopes", ", ".join(memory.scopes)),
            ("of", memory.owner),
            ("name", memory.name),
            ("aliases", ", ".join(memory.aliases)),
            ("why", memory.why),
            ("tags", ", ".join(memory.tags)),
            ("importance", f"{memory.importance:g}"),
            ("confidence", "" if memory.confidence == 1 else f"{memory.confidence:g}"),
            ("told", when(memory.at, now)),
            ("told again", f"{memory.reinforced} times" if memory.reinforced else ""),
            ("holds from", "" if memory.valid_from == memory.at else when(memory.valid_from, now)),
            ("held until", when(memory.valid_to, now) if memory.valid_to else ""),
            ("replaced by", str(memory.superseded_by) if memory.superseded_by else ""),
            ("expires", when(memory.expires_at, now) if memory.expires_at else ""),
            ("source", came.source),
            ("session", session),
            ("by", " ".join(part for part in (came.agent, came.actor) if part)),
        ]
    )


def _pair(kind: str, type_: str) -> str:
    return f"{kind.replace('_', ' ')}, {type_.replace('_', ' ')}" if type_ != kind else kind


def message_view(message: StoredMessage, now: datetime) -> Table:
    """Where a message stands; its text is said apart."""
    return facts(
        [
            ("id", str(message.id)),
            ("session", f"{message.session_id} #{message.seq}"),
            ("said by", f"{message.role.value} {message.author}".strip()),
            ("at", when(message.at, now)),
            ("status", "" if message.status == "complete" else state(message.status.value)),
        ]
    )


def receipt_view(done: Forgotten) -> Table:
    """What was removed, and the proof."""
    counts = ("memories", "messages", "chunks", "artifacts", "episodes", "others", "held")
    names = {"chunks": "passages", "others": "other rows", "held": "kept by legal hold"}
    rows = [(names.get(name, name), f"{getattr(done, name):,}") for name in counts if getattr(done, name)]
    left = plain("nothing is left", "green") if not done.left else plain(f"{done.left:,} are left", "red")
    return facts([("receipt", str(done.receipt)), *rows, ("second look", left)])


def stats_view(stats: Stats) -> list[Table | Text]:
    """How much is kept, as a small dashboard."""
    saved = stats.tokens_before - stats.tokens_after
    share = f" ({saved / stats.tokens_before * 100:.0f} %)" if stats.tokens_before else ""
    kept = facts(
        [
            ("sessions", f"{stats.sessions:,} with {stats.messages:,} messages"),
            ("memories", f"{stats.memories:,}, {stats.current:,} of them current"),
            ("artifacts", f"{stats.artifacts:,} ({format_size(stats.artifact_bytes)})"),
            ("episodes", f"{stats.episodes:,}"),
            ("open todos", f"{stats.todos_open:,}"),
            ("claimed work", f"{stats.work_claimed:,}"),
            ("proposals", f"{stats.proposals_open:,} open"),
        ]
    )
    index = facts(
        [
            ("passages", f"{stats.chunks:,}, {stats.embedded:,} with a vector"),
            ("model", stats.embedding_model or "none: by words alone"),
            ("behind", _behind(stats)),
        ]
    )
    written = facts(
        [
            ("pruned", f"{saved:,} of {stats.tokens_before:,} tokens saved{share}"),
            ("redacted", f"{stats.redacted:,} secrets"),
        ]
    )
    return [
        plain("Kept", "bold"), kept, Text(), plain("Index", "bold"), index, Text(), plain("On the way in", "bold"), written,
    ]  # fmt: skip


def _behind(stats: Stats) -> Text:
    if not stats.outbox:
        return plain("nothing waits", "green")
    return plain(f"{stats.outbox:,} rows wait, the oldest for {duration(stats.outbox_seconds)}", "yellow")
