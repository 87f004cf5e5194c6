"""The route table: the rows of every noun, joined below their prefixes."""

from orchestrator.api import audit, catalog, customers, service, tokens
from orchestrator.api.hooks import endpoints as hooks
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.api.instances import endpoints as instances
from orchestrator.api.operations import endpoints as operations

# The rows of operations come first, because "operations" would be taken for the id of a server otherwise.
INSTANCE_ENDPOINTS: tuple[Endpoint, ...] = (*operations.ENDPOINTS, *instances.ENDPOINTS)
LEGACY_ENDPOINTS = tuple(instances.LEGACY_LIST if each is instances.LIST else each for each in INSTANCE_ENDPOINTS)
OPERATOR_ENDPOINTS: tuple[Endpoint, ...] = (*customers.ENDPOINTS, *tokens.ENDPOINTS, *audit.ENDPOINTS)
SERVICE_ENDPOINTS: tuple[Endpoint, ...] = (*service.ENDPOINTS, *hooks.ENDPOINTS)

LEGACY_PREFIX = "/api/servers"
TABLES: tuple[tuple[str, tuple[Endpoint, ...]], ...] = (
    ("/api/instances", INSTANCE_ENDPOINTS),
    (LEGACY_PREFIX, LEGACY_ENDPOINTS),
    ("/api", (*catalog.ENDPOINTS, *OPERATOR_ENDPOINTS)),
    ("", SERVICE_ENDPOINTS),
)
"""The rows below each prefix."""
