"""Names that are persisted outside our code: one place, one line each on what breaks when it changes."""

from uuid import UUID

NAMESPACE_RETENTION_DAYS = 30  # closed histories in the embedded server are lost after this

CONTROL_QUEUE = "brainops-control"  # running plans wait for ever for workers on the old queue
HOST_QUEUE_PREFIX = "brainops-host-"  # likewise, for each host

WORKFLOW_TASK_SECONDS = 2  # a plan whose worker was killed in mid-step stands still for this long

AGENT_ATTRIBUTE = "BrainOpsAgent"  # Temporal UI filters and saved views of people
SERVICE_ATTRIBUTE = "BrainOpsService"  # likewise
SIGNATURE_ATTRIBUTE = "BrainOpsSignature"  # likewise
OUTCOME_ATTRIBUTE = "BrainOpsOutcome"  # likewise
SEARCH_ATTRIBUTES = (AGENT_ATTRIBUTE, SERVICE_ATTRIBUTE, SIGNATURE_ATTRIBUTE, OUTCOME_ATTRIBUTE)

ACTOR_HEADER = "brainops-actor"  # actors of running plans are lost: deeds are then recorded as the agent's own

REMEDY_NAMES = (  # what was learned under an old name is not found again, and configuration that names it is refused
    "start",
    "restart",
    "restart_dependency",
    "restore_files",
    "free_port",
    "clean_folder",
    "restore_folder",
    "run_command",
    "await_supervisor",
    "reload",
    "recreate",
    "prune_images",
    "vacuum_journal",
    "rotate_logs",
    "end_session",
    "quiet_neighbour",
    "raise_limit",
)

NOTIFICATIONS_WORKFLOW_ID = "notifications"  # every message would be delivered twice, by the old plan and the new one

RETENTION_SCHEDULE_ID = "brainops-retention"  # a second schedule would run beside the old one
CONSOLIDATION_SCHEDULE_ID = "brainops-consolidation"  # likewise
MEMORY_RETENTION_SCHEDULE_ID = "brainops-memory-retention"  # likewise


def host_queue(host: str) -> str:
    """Task queue of the activities that must run on `host` (processes, files)."""
    return f"{HOST_QUEUE_PREFIX}{host}"


def agent_workflow_id(agent: str) -> str:
    """Workflow id of an agent's life; changing it starts a second life beside the running one."""
    return f"agent/{agent}"


def monitoring_workflow_id(host: str) -> str:
    """Workflow id of a host's watch; changing it doubles the watch after an upgrade."""
    return f"monitoring/{host}"


def startup_workflow_id(host: str) -> str:
    """Workflow id of the first start of a host's services; changing it may start them from two plans at once."""
    return f"startup/{host}"


def incident_workflow_id(service: str, check: str) -> str:
    """Workflow id of the incident of one check; changing it opens a second incident for a running one."""
    return f"incident/{service}/{check}"


def effect_key(plan_id: UUID, step: int, attempt: int = 1) -> str:
    """Idempotency key of one side effect; changing it makes a resumed plan repeat its last effect."""
    return f"{plan_id}.{step}.{attempt}"
