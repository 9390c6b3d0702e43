"""Incidents: evidence, signature, root, candidates, choice, verification, outcome."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import Field

from brainops.contracts.action import Action
from brainops.contracts.agent import ActionClass, Autonomy
from brainops.contracts.approval import Approval
from brainops.contracts.base import DEFAULT_TENANT, Actor, Contract, ShortText
from brainops.contracts.check import CheckKind, Observation, Reason
from brainops.contracts.service import ServiceState


class FaultKind(StrEnum):
    """What is wrong, from evidence."""

    CRASH = "crash"
    CRASH_LOOP = "crash_loop"
    """It ended again within seconds of being started."""
    HANG = "hang"
    UNREACHABLE = "unreachable"
    ERRORS = "errors"
    SLOW = "slow"
    OVER_MEMORY = "over_memory"
    OVERUSE = "overuse"
    """More file descriptors, threads, children or processor than it may use."""
    EXPIRY = "expiry"
    """A certificate is or will soon be no longer valid."""
    FULL = "full"
    """A disk, its inodes, or the machine's memory are used up."""
    OVERLOADED = "overloaded"
    """The machine has more to do than it can."""
    DATABASE = "database"
    """Connections, transactions, locks or replication of a database."""
    LOGGED = "logged"
    """Its log says that something is wrong."""
    SILENT = "silent"
    """What should have reported did not."""
    FLAPPING = "flapping"
    """It passes and fails in turn."""


class FileCondition(StrEnum):
    """A declared file beside its last known good version."""

    SAME = "same"
    CHANGED = "changed"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNKEPT = "unkept"
    """No good version has been kept yet."""


class FileFacts(Contract):
    """One declared file."""

    path: str
    condition: FileCondition
    detail: ShortText = ""


class FolderFacts(Contract):
    """One declared folder."""

    path: str
    exists: bool
    bytes: int = 0
    limit_bytes: int | None = None

    @property
    def over_limit(self) -> bool:
        """Whether it holds more than declared."""
        return self.limit_bytes is not None and self.bytes > self.limit_bytes


class PortFacts(Contract):
    """Who holds a port that the service declares."""

    port: int
    holder_pid: int | None = None
    holder_start_ticks: int | None = None
    holder_command: ShortText = ""
    holder_is_service: bool = False
    may_be_ended: bool = False
    """BrainOps started it, or the configuration names it."""


class ContainerFacts(Contract):
    """A container of the service."""

    id: str
    name: str
    image: str
    health: str = ""
    """`healthy`, `unhealthy`, `starting`, or empty where it has no health check."""
    health_output: ShortText = ""
    missing: bool = False
    """Its service is declared and there is no such container."""
    drifted: tuple[ShortText, ...] = ()
    """What of its configuration differs from the last known good one."""
    known_good: bool = False
    """A good configuration has been kept."""


class UnitFacts(Contract):
    """A systemd unit."""

    name: str
    load_state: str = ""
    """`loaded`, `not-found`, `bad-setting`, `masked`."""
    active_state: str = ""
    sub_state: str = ""
    result: str = ""
    """Why it ended: `exit-code`, `signal`, `oom-kill`, `timeout`, `start-limit-hit`, …"""


class SessionFacts(Contract):
    """A session of a database that stands in the way."""

    check: str
    pid: int
    backend_start: str
    user: str = ""
    application: ShortText = ""
    state: str = ""
    """`idle in transaction`, `active`, …"""
    seconds: float = 0
    """Since its transaction began."""
    blocks: int = 0
    """How many other sessions wait for it."""
    own: bool = False
    """It belongs to BrainOps."""
    protected: bool = False
    """It belongs to a superuser or replicates: never ended."""


class ReclaimableFacts(Contract):
    """Disk that could be had back on the machine."""

    kind: ShortText
    """`images`, `build_cache`, `journal` or `log`."""
    path: str = ""
    """Of a log, as declared."""
    bytes: int = 0
    target_bytes: int = 0
    """What the service's configuration lets it be shrunk to."""


class NeighbourFacts(Contract):
    """A service of low priority on the same machine."""

    service: str
    cpu_share: float = 0
    """Of the whole machine, 0 to 1."""
    rss_bytes: int = 0
    reniced: bool = False


class DependencyFacts(Contract):
    """A fresh probe of a service that this one depends on."""

    service: str
    passing: bool
    check: str = ""
    reason: Reason = Reason.NONE
    detail: ShortText = ""


class LogFacts(Contract):
    """What the log says: the last error-like line since the last start, and its template."""

    error_line: ShortText = ""
    template: ShortText = ""
    tail_key: str = ""
    """Object-storage key of the redacted tail."""


class Evidence(Contract):
    """Everything that was captured about a fault; kept with the incident, never in history."""

    service: str
    check: str
    reason: Reason
    detail: ShortText = ""
    captured_at: datetime
    state: ServiceState
    probes: dict[str, Reason] = Field(default_factory=dict)
    """A fresh look at each check of the service: name → reason (`none`: passes)."""
    check_kinds: dict[str, CheckKind] = Field(default_factory=dict)
    """Kind of each check of the service, by name."""
    memory_limit_bytes: int | None = None
    seconds_from_start_to_exit: float | None = None
    failed_starts: int = 0
    """Starts of this service within the last minute that ended again within seconds."""
    files: tuple[FileFacts, ...] = ()
    folders: tuple[FolderFacts, ...] = ()
    ports: tuple[PortFacts, ...] = ()
    dependencies: tuple[DependencyFacts, ...] = ()
    log: LogFacts = LogFacts()
    container: ContainerFacts | None = None
    unit: UnitFacts | None = None
    sessions: tuple[SessionFacts, ...] = ()
    reclaimable: tuple[ReclaimableFacts, ...] = ()
    neighbours: tuple[NeighbourFacts, ...] = ()


class Signature(Contract):
    """Names a fault so that it is known again: kind, check and log template, and nothing of the place."""

    key: str
    """`kind/check-kind/reason/hash-of-template`, such as `crash/process/exited/5f1c2a9b`."""
    kind: FaultKind
    description: ShortText
    ending: ShortText = ""
    """How the process ended: `exit 1`, `signal 9`. With the next two, what makes the hash: for comparing."""
    template: ShortText = ""
    facts: tuple[ShortText, ...] = ()


class EvidenceSummary(Contract):
    """What of the evidence the plan needs."""

    signature: Signature
    headline: ShortText
    failing_dependencies: tuple[str, ...] = ()
    still_failing: bool = True
    """A fresh probe of the incident's check fails, too."""
    obstacles: tuple[str, ...] = ()
    """What stands in the way beside the service itself: held ports, broken files, full folders, dependencies."""
    runbooks: tuple[ShortText, ...] = ()
    """Paths of the runbooks that are for this fault, as people name them."""


class IncidentInput(Contract):
    """Start of an incident's plan. `plan_id` is given when it is taken up again from its row."""

    observation: Observation
    plan_id: UUID | None = None


class IncidentStatus(StrEnum):
    """Where an incident stands. The last four are ends."""

    OPEN = "open"
    WAITING_APPROVAL = "waiting_approval"
    OBSERVING = "observing"
    """Nothing may be done about it (autonomy, pause); it waits for the check to pass."""
    ESCALATED = "escalated"
    """A person must look; it waits for the check to pass."""
    RESOLVED = "resolved"
    """A remedy was verified."""
    RECOVERED = "recovered"
    """The check passed again without a verified remedy of ours."""
    ABSORBED = "absorbed"
    """It is part of another incident."""
    DISMISSED = "dismissed"
    """A late duplicate, or closed by a person."""

    @property
    def closed(self) -> bool:
        """Whether nothing more happens to it."""
        return self in (self.RESOLVED, self.RECOVERED, self.ABSORBED, self.DISMISSED)


class Attempt(Contract):
    """A remedy that was tried in this incident."""

    remedy: str
    helped: bool


class Opening(Contract):
    """Answer of the opening of an incident."""

    plan_id: UUID
    duplicate: bool = False
    """A newer observation was dealt with already: nothing is to be done."""
    next_step: int = 1
    """First unused step number: greater than 1 when the plan was taken up again."""
    attempts: tuple[Attempt, ...] = ()
    pending_approval: Approval | None = None
    status: IncidentStatus = IncidentStatus.OPEN


class PlanRef(Contract):
    """Names an incident's plan in calls between workflow and activities."""

    tenant_id: str = DEFAULT_TENANT
    plan_id: UUID
    workflow_id: str
    run_id: str
    service: str
    check: str
    host: str


class OpenIncident(Contract):
    """Insert the incident's row, or find it again."""

    plan: PlanRef
    observation: Observation


class CaptureRequest(Contract):
    """Look at everything around a failing check."""

    plan: PlanRef
    observation: Observation


class RootRequest(Contract):
    """Find what the incident follows from."""

    plan: PlanRef
    signature: Signature
    failing_dependencies: tuple[str, ...] = ()
    last_try: bool = False
    """The hold is over: a dependency without an incident of its own absorbs nothing any more."""


class Root(Contract):
    """The decided root of an incident."""

    is_root: bool
    absorbed_into: str = ""
    """Workflow id of the incident that this one is a part of."""
    root_service: str = ""
    wait_seconds: float = 0
    """> 0: a dependency fails but has no incident yet; ask again after this."""
    dependents: tuple[str, ...] = ()
    """Services that fail because of this one."""
    absorbed: tuple[str, ...] = ()
    """Workflow ids of open incidents that became part of this one."""
    recent_openings: tuple[datetime, ...] = ()
    """Earlier incidents of this service and signature within the recurrence window."""
    loop: bool = False
    """So many of them that healing itself has become the fault: a person must look."""
    recurrence: str = ""
    """The window, as people write it: `10m`."""


class KnownRemedy(Contract):
    """How often a remedy was tried against a signature, and helped."""

    remedy: str
    successes: int = 0
    failures: int = 0
    like: str = ""
    """Key of a similar signature against which it was tried; empty: against this very one."""
    similarity: float = Field(default=1.0, gt=0, le=1)
    """How similar that one is."""


class Knowledge(Contract):
    """What is known of a signature."""

    signature: str
    remedies: tuple[KnownRemedy, ...] = ()
    best: str = ""
    usage_count: int = 0


class Candidate(Contract):
    """A remedy whose preconditions the evidence meets."""

    remedy: str
    action_class: ActionClass
    actions: tuple[Action, ...]
    cause: ShortText
    """The sentence that would be true if this remedy is the right one."""
    explains: bool = False
    """The evidence names this cause; False: the remedy may help all the same."""
    rules_out: tuple[str, ...] = ()
    """Remedies that cannot help while this cause stands, such as a restart while a stranger holds the port."""
    runbook: ShortText = ""
    """The runbook that asks for it, as people name it."""
    runbook_place: int = Field(default=0, ge=0)
    """Its place among what runbooks ask for, from 0."""
    cost: int = Field(ge=0)
    """Cost of being wrong: 0 none, 1 a restart, 2 other services notice, 3 something is lost."""


class Gate(StrEnum):
    """What may be done with the chosen remedy."""

    ACT = "act"
    ASK = "ask"
    SUGGEST = "suggest"
    OBSERVE = "observe"


class Choice(Contract):
    """The remedy that was chosen, and why."""

    candidate: Candidate
    reason: ShortText
    alternatives: tuple[str, ...] = ()
    known: bool = False
    """It worked against this signature before, or against one like it."""


class GateAnswer(Contract):
    """How freely one action class may be used for a service now, and what set it."""

    gate: Gate
    reason: ShortText
    autonomy: Autonomy = Autonomy.OBSERVE
    learned: bool = False
    """An earlier bad outcome lowered it: further outcomes count."""
    until: datetime | None = None
    """It holds until then: the end of a maintenance window."""


class Permissions(Contract):
    """The gates of a service, by action class. Read once for a choice, enforced again on the host before the act."""

    gates: dict[ActionClass, GateAnswer] = Field(default_factory=dict[ActionClass, GateAnswer])
    approval_expires_seconds: float = 1800

    def gate(self, action_class: ActionClass) -> GateAnswer:
        """The answer for `action_class`; one that is not named may only be observed."""
        return self.gates.get(action_class, GateAnswer(gate=Gate.OBSERVE, reason="not in the charter"))


class CandidatesRequest(Contract):
    """Which remedies does the evidence of this plan allow?"""

    plan: PlanRef
    dependents: tuple[str, ...] = ()


class Candidates(Contract):
    """Remedies with their preconditions met, in the registry's order."""

    candidates: tuple[Candidate, ...] = ()


class VerifyRequest(Contract):
    """Look whether a remedy helped: the same check, its neighbours, and the dependents."""

    plan: PlanRef
    dependents: tuple[str, ...] = ()


class Verification(Contract):
    """What verification saw."""

    ok: bool
    summary: ShortText
    failing: tuple[str, ...] = ()
    """`service/check` of what still fails."""
    seconds: float = 0
    harmful: bool = False
    """Something that passed before the remedy fails after it."""


class DecisionRecord(Contract):
    """A choice with its alternatives, for `decision_logs`."""

    plan: PlanRef
    agent: str
    decision: ShortText
    reason: ShortText
    alternatives: tuple[str, ...] = ()
    context: dict[str, Any] = Field(default_factory=dict)


class AttemptRecord(Contract):
    """One remedy that was tried, for `remediations`."""

    plan: PlanRef
    signature: Signature
    remedy: str
    action_class: ActionClass
    first_step: int
    helped: bool
    harmful: bool = False
    undone: bool = False
    cause: ShortText = ""
    summary: ShortText = ""
    verify_seconds: float = 0


class LearnRequest(Contract):
    """What the knowledge base takes from an attempt."""

    record: AttemptRecord
    actions: tuple[Action, ...] = ()


class IncidentUpdate(Contract):
    """A change of the incident's row and a line of its timeline."""

    plan: PlanRef
    status: IncidentStatus
    note: ShortText
    signature: Signature | None = None
    cause: ShortText | None = None
    remedy: str | None = None
    approval: Approval | None = None
    """An approval to insert (pending) or to bring up to date."""


class Dismissal(Contract):
    """Close an incident without an end of its own: its service is gone, or a person says so."""

    reason: ShortText
    actor: Actor


class IncidentView(Contract):
    """Answer of the incident workflow's query, and what people read."""

    plan_id: UUID
    service: str
    check: str
    status: IncidentStatus
    headline: ShortText = ""
    cause: ShortText = ""
    remedy: str = ""
    attempts: tuple[Attempt, ...] = ()
    pending_approval: Approval | None = None


class IncidentResult(Contract):
    """How an incident's plan ended."""

    plan_id: UUID
    status: IncidentStatus
    cause: ShortText = ""
    remedy: str = ""
    attempts: int = 0
    model_calls: int = 0
