"""The one Temporal plugin: the same converter, interceptors and sandbox for client, worker and replayer."""

from dataclasses import replace

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from brainops.contracts.base import Actor
from brainops.errors import BrainOpsError
from brainops.memory.deeds import DeedStore
from workers.interceptors import BrainOpsInterceptor

PASSED_THROUGH = (
    "brainops",
    "agents",
    "activities",
    # What the three import: loading a copy of each for every workflow would cost a second and much memory.
    "aiohttp",
    "alembic",
    "obstore",
    "psutil",
    "psycopg",
    "psycopg_pool",
    "pydantic_core",
    "rich",
    "sqlalchemy",
    "structlog",
    "yaml",
)
"""Modules that the workflow sandbox takes from outside: contracts, pure decisions, and activities' names.

Contracts that are not passed through make each start three times slower, and with activities that are not the
worker does not start at all. That `agents` stays pure is checked by a test of its own.
"""


def brainops_plugin(actor: Actor, deeds: DeedStore | None = None) -> SimplePlugin:
    """The production wiring. `actor`: who this process acts for; `deeds`: where deeds are recorded, in workers."""
    return SimplePlugin(
        "brainops",
        data_converter=pydantic_data_converter,
        interceptors=[BrainOpsInterceptor(actor, deeds)],
        workflow_runner=_sandboxed,
        workflow_failure_exception_types=[BrainOpsError],
    )


def _sandboxed(existing: WorkflowRunner | None) -> WorkflowRunner:
    runner = existing if isinstance(existing, SandboxedWorkflowRunner) else SandboxedWorkflowRunner()
    return replace(runner, restrictions=runner.restrictions.with_passthrough_modules(*PASSED_THROUGH))
