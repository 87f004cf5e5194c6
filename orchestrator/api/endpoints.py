"""The route table: the endpoints of every noun, each below its prefix."""

from orchestrator.api import audit, customers, service, tokens
from orchestrator.api.hooks import endpoints as hooks
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.api.instances import endpoints as instances
from orchestrator.api.operations import endpoints as operations

# Those of operations stand first, because "operations" would else be taken for a server's id.
INSTANCE_ENDPOINTS: tuple[Endpoint, ...] = (*operations.ENDPOINTS, *instances.ENDPOINTS)
LEGACY_ENDPOINTS = tuple(instances.LEGACY_LIST if each is instances.LIST else each for each in INSTANCE_ENDPOINTS)
OPERATOR_ENDPOINTS: tuple[Endpoint, ...] = (*customers.ENDPOINTS, *tokens.ENDPOINTS, *audit.ENDPOINTS)
SERVICE_ENDPOINTS: tuple[Endpoint, ...] = (*service.ENDPOINTS, *hooks.ENDPOINTS)

LEGACY_PREFIX = "/api/servers"
TABLES: tuple[tuple[str, tuple[Endpoint, ...]], ...] = (
    ("/api/instances", INSTANCE_ENDPOINTS),
    (LEGACY_PREFIX, LEGACY_ENDPOINTS),
    ("/api", OPERATOR_ENDPOINTS),
    ("", SERVICE_ENDPOINTS),
)
"""Where each endpoint answers."""
