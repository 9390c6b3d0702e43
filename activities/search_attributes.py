"""By what the plans that are started can be found in the Temporal UI."""

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from brainops.contracts.agent import AgentName
from brainops.contracts.names import AGENT_ATTRIBUTE, SERVICE_ATTRIBUTE

_AGENT = SearchAttributeKey.for_keyword(AGENT_ATTRIBUTE)
_SERVICE = SearchAttributeKey.for_keyword(SERVICE_ATTRIBUTE)


def attributes_of(agent: AgentName, service: str = "") -> TypedSearchAttributes:
    """The attributes of a plan of `agent`; of one service, if named."""
    pairs = [SearchAttributePair(_AGENT, agent.value)]
    if service:
        pairs.append(SearchAttributePair(_SERVICE, service))
    return TypedSearchAttributes(pairs)
