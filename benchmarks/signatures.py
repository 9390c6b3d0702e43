"""How well a fault is known again by likeness: `python benchmarks/signatures.py --check`.

The labelled pairs stand in `tests/unit/signature_pairs.yaml`. Each fault there goes the whole way that a real one goes:
its log is read for the error line, the line becomes a template, the evidence a signature, and two signatures are
compared. No pair has equal signatures, since those need no likeness.

The faults are split in two halves: `tune`, by whose mistakes the comparison was made better, and `report`, which was
put aside before that. No fault is in both. The figures are those of `report`; those of `tune` are told beside them.
"""

import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from benchmarks import harness
from brainops.contracts.check import CheckKind, Reason
from brainops.contracts.incident import (
    Evidence,
    FileCondition,
    FileFacts,
    FolderFacts,
    LogFacts,
    PortFacts,
    Signature,
)
from brainops.contracts.service import ExitRecord, ProcessRecord, ServiceState, ServiceStatus
from brainops.incidents.signature import sign
from brainops.memory.similarity import SIMILAR_ENOUGH, Likeness, similarity
from brainops.telemetry.templates import error_line, template

PAIRS = Path(__file__).parent.parent / "tests" / "unit" / "signature_pairs.yaml"

Half = Literal["tune", "report"]
Broken = Literal["", "port", "folder-full", "folder-missing", "file-changed", "file-missing"]

_NOW = datetime(2026, 3, 2, 10, 11, 12, tzinfo=UTC)
_REASONS = {
    "hang": Reason.TIMEOUT,
    "refused": Reason.REFUSED,
    "status": Reason.STATUS,
    "slow": Reason.SLOW,
    "memory": Reason.MEMORY,
}


class Fault(BaseModel):
    """One fault as the file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: str
    """What is wrong: two of one name are the same fault."""
    half: Half
    program: str
    state: str
    """`exit N`, `signal N`, `stopped`, or why its check fails: `hang`, `refused tcp`, `status`, `slow`, `memory`."""
    broken: Broken = ""
    """What declared thing is broken, too."""
    log: str = ""


class Labelled(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    faults: dict[str, Fault]
    same: tuple[tuple[str, str], ...]
    """Pairs of names: one fault."""
    other: tuple[tuple[str, str], ...]
    """Pairs of names: two faults."""


@dataclass(frozen=True)
class Judged:
    """One pair, as it is labelled and as it was found."""

    one: str
    other: str
    half: Half
    same: bool
    likeness: float

    @property
    def found(self) -> bool:
        """Whether the two are taken for one fault."""
        return self.likeness >= SIMILAR_ENOUGH


def read_labelled(path: Path = PAIRS) -> Labelled:
    """The labelled pairs."""
    return Labelled.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def signature_of(fault: Fault, port: int = 8080) -> Signature:
    """The fault's signature, by way of evidence. `port`: one that does not matter."""
    line = error_line(fault.log, exited=fault.state.startswith(("exit", "signal")))
    return sign(
        Evidence(
            service="api",
            check="front",
            reason=_REASONS.get(fault.state.split()[0], Reason.EXITED),
            captured_at=_NOW,
            state=_state(fault.state),
            probes={"front": _REASONS.get(fault.state.split()[0], Reason.REFUSED)},
            check_kinds={"front": _check_kind(fault.state)},
            seconds_from_start_to_exit=1.5,
            files=_files(fault.broken),
            folders=_folders(fault.broken),
            ports=(PortFacts(port=port, holder_pid=77),) if fault.broken == "port" else (),
            log=LogFacts(error_line=line, template=template(line)),
        )
    )


def _state(text: str) -> ServiceState:
    process = ProcessRecord(pid=7, start_ticks=1, effect_key="k", command=("api",), started_at=_NOW)
    how, _, number = text.partition(" ")
    if how not in ("exit", "signal"):
        status = ServiceStatus.STOPPED if how == "stopped" else ServiceStatus.RUNNING
        return ServiceState(service="api", status=status, process=process)
    ended = ExitRecord(
        pid=7,
        effect_key="k",
        exit_code=int(number) if how == "exit" else None,
        signal=int(number) if how == "signal" else None,
        ended_at=_NOW + timedelta(seconds=1.5),
    )
    return ServiceState(service="api", status=ServiceStatus.EXITED, process=process, exit=ended)


def _check_kind(text: str) -> CheckKind:
    if text == "memory":
        return CheckKind.PROCESS
    return CheckKind.TCP if text.endswith(" tcp") else CheckKind.HTTP


def _files(broken: Broken) -> tuple[FileFacts, ...]:
    condition = {"file-changed": FileCondition.CHANGED, "file-missing": FileCondition.MISSING}.get(broken)
    return (FileFacts(path="settings", condition=condition),) if condition is not None else ()


def _folders(broken: Broken) -> tuple[FolderFacts, ...]:
    if broken == "folder-missing":
        return (FolderFacts(path="spool", exists=False),)
    return (FolderFacts(path="spool", exists=True, bytes=9, limit_bytes=5),) if broken == "folder-full" else ()


def judge(labelled: Labelled) -> list[Judged]:
    """Every pair of the file."""
    likeness = {name: Likeness.of(signature_of(fault)) for name, fault in labelled.faults.items()}
    return [
        Judged(one, other, labelled.faults[one].half, same, similarity(likeness[one], likeness[other]))
        for same, pairs in ((True, labelled.same), (False, labelled.other))
        for one, other in pairs
    ]


def precision_and_recall(judged: Iterable[Judged]) -> tuple[float, float]:
    """Share of what was found that is right, and share of what is right that was found."""
    pairs = list(judged)
    found = sum(pair.found for pair in pairs)
    right = sum(pair.found and pair.same for pair in pairs)
    return right / found if found else 1.0, right / max(1, sum(pair.same for pair in pairs))


def figures(judged: Sequence[Judged], seed: int) -> dict[str, float]:
    """The benchmark's figures, with the 5th percentile of 2,000 resamplings of the pairs beside each."""
    report = [pair for pair in judged if pair.half == "report"]
    precision, recall = precision_and_recall(report)
    tune_precision, tune_recall = precision_and_recall(pair for pair in judged if pair.half == "tune")
    chance = random.Random(seed)
    resampled = [precision_and_recall(chance.choices(report, k=len(report))) for _ in range(2000)]
    return {
        "precision": precision,
        "recall": recall,
        "precision_p5": harness.percentile([pair[0] for pair in resampled], 0.05),
        "recall_p5": harness.percentile([pair[1] for pair in resampled], 0.05),
        "pairs": len(report),
        "precision_tune": tune_precision,
        "recall_tune": tune_recall,
        "pairs_tune": len(judged) - len(report),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program. Returns the exit code."""
    parser = harness.arguments("How well a fault is known again by likeness.")
    parser.add_argument("--pairs", type=Path, default=PAIRS, metavar="FILE", help="the labelled pairs")
    given = parser.parse_args(arguments)
    return harness.finish("signatures", figures(judge(read_labelled(given.pairs)), given.seed), given)


if __name__ == "__main__":
    sys.exit(main())
