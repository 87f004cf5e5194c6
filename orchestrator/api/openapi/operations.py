"""What the OpenAPI document says of one endpoint."""

import inspect
from typing import Any, get_args

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
        schema = {"oneOf": [reference(model) for model in models], "discriminator": _discriminate(models)}
    return {"schema": schema, "examples": examples}


def _discriminate(models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    """Name the member by which the models of a body are told apart: in each it can be one word, and another one."""
    for name in models[0].model_fields:
        fields = [model.model_fields.get(name) for model in models]
        words = [get_args(field.annotation) if field else () for field in fields]
        if all(len(each) == 1 for each in words) and len(set(words)) == len(models):
            mapping = {word: reference(model)["$ref"] for (word,), model in zip(words, models, strict=True)}
            return {"propertyName": name, "mapping": mapping}
    raise LookupError(f"nothing tells {', '.join(model.__name__ for model in models)} apart")
