"""What is seen to in a Temporal server's namespace: how long histories are kept, and our search attributes."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from time import monotonic

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from brainops.contracts.names import NAMESPACE_RETENTION_DAYS, SEARCH_ATTRIBUTES
from brainops.errors import UnavailableError
from workers.reach import listens

ANSWER_SECONDS = 2.0
"""A server that was just started is waited for as long as this."""
POLL_SECONDS = 0.02


async def see_to(address: str, namespace: str) -> str:
    """Set the retention where it differs and register the attributes that are missing; returns the address.

    For a server of ours. Raises UnavailableError when it does not answer.
    """
    deadline = monotonic() + ANSWER_SECONDS
    while True:
        try:
            if await listens(address, ANSWER_SECONDS):
                client = await Client.connect(address, namespace=namespace)
                await keep_histories(client, timedelta(days=NAMESPACE_RETENTION_DAYS))
                await ensure_search_attributes(client)
                return address
            problem = "nobody listens there"
        except (RuntimeError, RPCError) as error:
            problem = str(error)
        if monotonic() > deadline:
            raise UnavailableError(f"the Temporal server at {address} does not answer: {problem}")
        await asyncio.sleep(POLL_SECONDS)


async def keep_histories(client: Client, retention: timedelta) -> None:
    """Let closed histories of the client's namespace be kept for `retention` (a dev server keeps a day)."""
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    if described.config.workflow_execution_retention_ttl.ToTimedelta() == retention:
        return
    request = UpdateNamespaceRequest(namespace=client.namespace)
    request.config.workflow_execution_retention_ttl.FromTimedelta(retention)
    await client.workflow_service.update_namespace(request)


async def ensure_search_attributes(client: Client, names: Sequence[str] = SEARCH_ATTRIBUTES) -> None:
    """Register those of `names` that the client's namespace lacks, as keywords. Others' attributes are left alone."""
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = [name for name in names if name not in listed.custom_attributes]
    if not missing:
        return
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=dict.fromkeys(missing, keyword))
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise
