"""What the Temporal UI can be filtered by."""

from temporalio import workflow
from temporalio.common import SearchAttributeKey

from brainops.contracts.names import OUTCOME_ATTRIBUTE, SIGNATURE_ATTRIBUTE

_SIGNATURE = SearchAttributeKey.for_keyword(SIGNATURE_ATTRIBUTE)
_OUTCOME = SearchAttributeKey.for_keyword(OUTCOME_ATTRIBUTE)


def show_signature(signature: str) -> None:
    """Set the running workflow's signature."""
    _upsert(_SIGNATURE, signature)


def show_outcome(outcome: str) -> None:
    """Set the running workflow's outcome."""
    _upsert(_OUTCOME, outcome)


def _upsert(key: SearchAttributeKey[str], value: str) -> None:
    # The SDK declares the updates with a bare generic, which strict checking cannot follow.
    workflow.upsert_search_attributes([key.value_set(value)])  # pyright: ignore[reportUnknownMemberType]
