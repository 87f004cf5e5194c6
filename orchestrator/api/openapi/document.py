"""The OpenAPI 3.1 document, generated from the route table and the models."""

import json
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from orchestrator.api.endpoints import INSTANCE_ENDPOINTS, LEGACY_PREFIX, TABLES
from orchestrator.api.http.answers import ProblemAnswer
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.api.openapi.operations import make_operation
from orchestrator.api.openapi.responses import make_headers, make_problem_responses
from orchestrator.api.openapi.schemas import make_schemas

_DESCRIPTION = (
    "Orders become reachable game servers and dev containers on Proxmox VE. An order is accepted with an operation, "
    "which is watched until it has ended. Names are camelCase, times are RFC 3339 in UTC, and refusals are problem "
    "details (RFC 9457)."
)
_LEGACY_TAG = LEGACY_PREFIX.rpartition("/")[2]
_LEGACY = (
    "The paths of the predecessor: all below /api/instances also answers below /api/servers, and only the list differs."
)


def make_renderer(version: str) -> Callable[[str], bytes]:
    """Make the function that renders the document for clients that see the API below a prefix, once for each."""

    @lru_cache(maxsize=8)
    def render(prefix: str) -> bytes:
        return json.dumps(document(version, prefix)).encode()

    render("")  # before the first request, which would wait for it, and all others too
    return render


def document(version: str, prefix: str = "") -> dict[str, Any]:
    """Make the whole document for a version, and for clients that see the API below a prefix."""
    rows = [(below, endpoint) for below, table in TABLES for endpoint in table]
    endpoints = [endpoint for _, endpoint in rows]
    paths: dict[str, dict[str, Any]] = {}
    for below, endpoint in rows:
        operation = make_operation(endpoint, name=_name(below, endpoint), tag=_tag(below, endpoint))
        paths.setdefault(below + endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hostwright",
            "description": _DESCRIPTION,
            "version": version,
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "servers": [{"url": prefix or "/"}],
        "tags": _make_tags(endpoints),
        "paths": paths,
        "components": {
            "schemas": _make_schemas(endpoints),
            "responses": make_problem_responses(endpoints),
            "headers": make_headers(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of a customer, which sees and changes what is its own, or of an operator.",
                }
            },
        },
        "security": [{"token": []}],
    }


def _is_alias(below: str, endpoint: Endpoint) -> bool:
    return below == LEGACY_PREFIX and endpoint in INSTANCE_ENDPOINTS


def _name(below: str, endpoint: Endpoint) -> str:
    """The operationId. That of an alias begins with `legacy`, because each may stand once."""
    name = endpoint.name
    return f"legacy{name[0].upper()}{name[1:]}" if _is_alias(below, endpoint) else name


def _tag(below: str, endpoint: Endpoint) -> str:
    """The room of the handler within the API, which is its noun."""
    return _LEGACY_TAG if below == LEGACY_PREFIX else endpoint.handler.__module__.split(".")[2]


def _make_tags(endpoints: list[Endpoint]) -> list[dict[str, str]]:
    """Make the tags with their descriptions, which are the docstrings of the rooms."""
    rooms = dict.fromkeys(".".join(endpoint.handler.__module__.split(".")[:3]) for endpoint in endpoints)
    tags = {room.rpartition(".")[2]: (sys.modules[room].__doc__ or "").strip() for room in rooms}
    return [{"name": name, "description": text} for name, text in (tags | {_LEGACY_TAG: _LEGACY}).items()]


def _make_schemas(endpoints: list[Endpoint]) -> dict[str, Any]:
    bodies = [model for endpoint in endpoints for model in endpoint.body]
    answers = [endpoint.result for endpoint in endpoints if endpoint.result is not None]
    events = [model for endpoint in endpoints for model in endpoint.events.values()]
    return make_schemas(bodies, [ProblemAnswer, *answers, *events])
