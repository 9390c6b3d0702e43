"""Knowledge on its way from one BrainOps to another: JSON lines, one entry each.

A line says everything that the other needs to know the fault again and to choose by it, and nothing of the place:
`{"version": 1, "signature": "crash/process/exited/5f1c2a9b", "remedy": "restore_files", "successes": 3, …}`.
"""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from brainops.config.mistakes import Mistake, dotted, nearest
from brainops.contracts.base import ShortText
from brainops.contracts.incident import FaultKind, Signature
from brainops.memory.knowledge import ToldKnowledge
from brainops.telemetry.redaction import clean

MAX_BYTES = 10_000_000
"""Of an import."""

MAX_LINES = 10_000

MOST_TRIALS = 5
"""What another house counted is worth at most so many trials here: what is seen here soon outweighs it."""

_MOST_TOLD = 100
_LONGEST = 500

Key = Annotated[str, StringConstraints(pattern=r"^[a-z_]+/[a-z][a-z0-9_-]*/[a-z_]+/[0-9a-f]{4,64}$", max_length=200)]
RemedyName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(:.+)?$", max_length=200)]


class Line(BaseModel):
    """One entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    """Of this format."""
    signature: Key
    remedy: RemedyName
    solution: Annotated[ShortText, StringConstraints(min_length=1)]
    description: ShortText = ""
    ending: ShortText = ""
    template: ShortText = ""
    facts: Annotated[tuple[ShortText, ...], Field(max_length=20)] = ()
    successes: int = Field(default=1, ge=0, le=1_000_000)
    failures: int = Field(default=0, ge=0, le=1_000_000)

    @classmethod
    def of(cls, told: ToldKnowledge) -> "Line":
        """The entry as a line."""
        known = told.signature
        return cls(
            signature=known.key,
            remedy=told.remedy,
            solution=told.solution or told.remedy,
            description=known.description,
            ending=known.ending,
            template=known.template,
            facts=known.facts,
            successes=told.successes,
            failures=told.failures,
        )

    def told(self) -> ToldKnowledge:
        """The entry, its counts brought down to what they are worth here. What is secret in it is not kept."""
        trials = self.successes + self.failures
        share = min(1.0, MOST_TRIALS / trials) if trials else 1.0
        signature = Signature(
            key=self.signature,
            kind=FaultKind(self.signature.split("/")[0]),
            description=clean(self.description, _LONGEST),
            ending=clean(self.ending, _LONGEST),
            template=clean(self.template, _LONGEST),
            facts=tuple(clean(fact, _LONGEST) for fact in self.facts),
        )
        return ToldKnowledge(
            signature=signature,
            remedy=self.remedy,
            solution=clean(self.solution, _LONGEST),
            successes=round(self.successes * share),
            failures=round(self.failures * share),
        )


def read_lines(text: str, file: str, remedies: Collection[str]) -> tuple[list[ToldKnowledge], list[Mistake]]:
    """Every entry of `text`, or everything that is wrong with it. `remedies`: the names of those that there are."""
    entries: list[ToldKnowledge] = []
    mistakes: list[Mistake] = []
    seen: dict[str, int] = {}
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        return [], [Mistake(file, MAX_LINES + 1, 1, "", f"has more than {MAX_LINES} lines", "import it in parts")]
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        try:
            line = Line.model_validate_json(raw)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                field = dotted(details["loc"])
                mistakes.append(Mistake(file, number, 1, field, details["msg"], "see docs/knowledge.md, Exchange"))
            continue
        mistakes += _told_wrong(line, file, number, remedies, seen)
        seen[line.signature] = number
        if not mistakes:
            entries.append(line.told())
    return ([] if mistakes else entries), mistakes[:_MOST_TOLD]


def _told_wrong(line: Line, file: str, number: int, remedies: Collection[str], seen: dict[str, int]) -> list[Mistake]:
    found: list[Mistake] = []
    kind = line.signature.split("/")[0]
    if kind not in set(FaultKind):
        found.append(Mistake(file, number, 1, "signature", f"there is no kind of fault {kind!r}", "remove the line"))
    name = line.remedy.partition(":")[0]
    if name not in remedies:
        close = nearest(name, remedies)
        meant = f"did you mean {close}?" if close else "install the package that brings it, or remove the line"
        found.append(Mistake(file, number, 1, "remedy", f"there is no remedy {name!r}", meant))
    if line.signature in seen:
        told = f"{line.signature} is on line {seen[line.signature]} as well"
        found.append(Mistake(file, number, 1, "signature", told, "keep one of the two"))
    return found
