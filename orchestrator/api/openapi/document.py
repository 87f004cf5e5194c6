"""The OpenAPI 3.1 document, generated from the route table and the models."""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from orchestrator.api.endpoints import LEGACY_PREFIX, TABLES
from orchestrator.api.http.answers import ProblemAnswer
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.api.http.parameters import IF_NONE_MATCH
from orchestrator.api.openapi.schemas import make_schemas, reference
from orchestrator.domain.errors import PROBLEM_STATUS, ProblemCode

_EVERYWHERE = (ProblemCode.UNAUTHENTICATED, ProblemCode.RATE_LIMITED, ProblemCode.UNAVAILABLE)


def make_renderer(version: str) -> Callable[[str], bytes]:
    """Make the function that renders the document for clients that see the API below a prefix, once for each."""

    @lru_cache(maxsize=8)
    def render(prefix: str) -> bytes:
        return json.dumps(document(version, prefix)).encode()

    return render


def document(version: str, prefix: str = "") -> dict[str, Any]:
    """Make the whole document for a version, and for clients that see the API below a prefix."""
    tables = [(prefix, table) for prefix, table in TABLES if prefix != LEGACY_PREFIX]
    endpoints = [(prefix + endpoint.path, endpoint) for prefix, table in tables for endpoint in table]
    paths: dict[str, dict[str, Any]] = {}
    for path, endpoint in endpoints:
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hostwright", "version": version, "license": {"name": "GPL-3.0-or-later"}},
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas([endpoint for _, endpoint in endpoints]),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _schemas(endpoints: list[Endpoint]) -> dict[str, Any]:
    bodies = [model for endpoint in endpoints for model in endpoint.body]
    answers = [endpoint.result for endpoint in endpoints if endpoint.result is not None]
    return make_schemas(bodies, [ProblemAnswer, *answers])


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": endpoint.name,
        "parameters": [
            {"name": each.name, "in": each.place, "required": each.place == "path", "schema": each.schema}
            for each in endpoint.parameters
        ],
        "responses": _responses(endpoint),
    }
    if endpoint.takes_body:
        body: dict[str, Any] = {"oneOf": [reference(model) for model in endpoint.body]}
        if endpoint.free_body:
            body = {"type": "object"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if endpoint.public:
        operation["security"] = []
    return operation


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    success: dict[str, Any] = {"description": endpoint.summary}
    if endpoint.result is not None:
        success["content"] = {"application/json": {"schema": reference(endpoint.result)}}
    responses: dict[str, Any] = {str(endpoint.status): success}
    if IF_NONE_MATCH in endpoint.parameters:
        responses["304"] = {"description": "Nothing has changed"}
    for code in _problems(endpoint):
        status = str(PROBLEM_STATUS[code])
        known = responses.get(status, {}).get("description", "")
        responses[status] = {
            "description": f"{known}, {code}".strip(", "),
            "content": {"application/problem+json": {"schema": reference(ProblemAnswer)}},
        }
    if endpoint.path == "/readyz":
        responses["503"] = {"description": "Not ready; the body says what is missing"}
    return responses


def _problems(endpoint: Endpoint) -> list[ProblemCode]:
    """The problems of the endpoint itself, and those that every request may meet (orchestrator.api.http.serving)."""
    problems = list(endpoint.problems)
    if not endpoint.takes_body:
        problems.append(ProblemCode.INVALID_REQUEST)
    if not endpoint.public:
        problems += _EVERYWHERE
    elif endpoint.changes:
        problems += [ProblemCode.RATE_LIMITED, ProblemCode.UNAVAILABLE]
    return list(dict.fromkeys(problems))
