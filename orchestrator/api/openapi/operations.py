"""What the OpenAPI document says of one endpoint."""

import inspect
from typing import Any

from pydantic import BaseModel

from orchestrator.api.http.endpoint import Endpoint
from orchestrator.api.openapi.examples import EXAMPLES
from orchestrator.api.openapi.responses import make_responses
from orchestrator.api.openapi.schemas import reference


def make_operation(endpoint: Endpoint, *, name: str, tag: str) -> dict[str, Any]:
    """Describe an endpoint. Its description is the docstring of its handler."""
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [tag],
        "summary": endpoint.summary,
        "description": _describe(endpoint),
        "parameters": [
            {
                "name": each.name,
                "in": each.place,
                "required": each.place == "path",
                "description": each.description,
                "schema": each.schema,
            }
            for each in endpoint.parameters
        ],
        "responses": make_responses(endpoint),
    }
    if endpoint.takes_body:
        operation["requestBody"] = {"required": True, "content": {"application/json": _make_body(endpoint.body)}}
    if endpoint.public:
        operation["security"] = []
    return operation


def _describe(endpoint: Endpoint) -> str:
    text = inspect.getdoc(endpoint.handler) or endpoint.summary
    return f"{text}\n\nFor operators only." if endpoint.operator else text


def _make_body(models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    examples = {model.__name__: {"summary": inspect.getdoc(model), "value": EXAMPLES[model]} for model in models}
    schema: dict[str, Any] = reference(models[0])
    if len(models) > 1:
        schema = {"oneOf": [reference(model) for model in models]}
    return {"schema": schema, "examples": examples}
