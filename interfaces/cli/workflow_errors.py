"""What a workflow answers, as errors of ours: a refused update is the person's mistake, a lost server is not."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from brainops import errors
from brainops.errors import ActionError, BrainOpsError, ConflictError, UnavailableError

ANSWER_SECONDS = 30.0
"""Workers answer in milliseconds; when none runs, a person should not wait for ever."""


@contextlib.asynccontextmanager
async def translated(what: str, seconds: float = ANSWER_SECONDS) -> AsyncGenerator[None]:
    """Raise errors of ours for what Temporal raises within; `what` names the workflow for people."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (WorkflowUpdateFailedError, WorkflowFailureError) as error:
        raise application_error(error.cause, what) from error
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        raise UnavailableError(
            f"{what} did not answer within {seconds:.0f} s: no worker runs; `brainops up` starts them"
        ) from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ConflictError(f"{what} does not run any more; `brainops status` shows what does") from error
        raise UnavailableError(f"the Temporal server did not take the call to {what}: {error.message}") from error


def application_error(cause: BaseException | None, what: str) -> BrainOpsError:
    """The error of ours that an ApplicationError carries by its type's name; ActionError for any other failure."""
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = getattr(cause, "cause", None) or cause.__cause__
    if cause is None:
        return ActionError(f"{what} failed; its history in the Temporal UI says why")
    kind = getattr(errors, cause.type or "", None)
    if isinstance(kind, type) and issubclass(kind, BrainOpsError):
        return kind(cause.message)
    return ActionError(f"{what} failed: {cause.message}")
