"""The answers of the endpoints: what each answers when all goes well, and the refusals that it may meet."""

import inspect
import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from itertools import groupby
from typing import Any

from pydantic import BaseModel

from orchestrator.api.http.answers import ProblemAnswer
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.api.http.parameters import IF_NONE_MATCH
from orchestrator.api.http.problems import MEDIA_TYPE
from orchestrator.api.http.response_headers import EVERYWHERE, PROBLEM_HEADERS, ResponseHeader
from orchestrator.api.http.streams import MEDIA_TYPE as STREAM
from orchestrator.api.openapi.examples import EXAMPLES, MEMBERS
from orchestrator.api.openapi.schemas import reference
from orchestrator.domain.errors import PROBLEM_STATUS, ProblemCode
from orchestrator.domain.refusals import MEANINGS

_ANY = (
    ProblemCode.METHOD_NOT_ALLOWED,
    ProblemCode.URI_TOO_LONG,
    ProblemCode.HEADERS_TOO_LARGE,
    ProblemCode.INTERNAL,
)
"""What any request may meet (orchestrator.api.http.headers, problems)."""
_WITH_TOKEN = (ProblemCode.UNAUTHENTICATED, ProblemCode.RATE_LIMITED, ProblemCode.UNAVAILABLE)

Codes = tuple[ProblemCode, ...]


def make_responses(endpoint: Endpoint) -> dict[str, Any]:
    """Describe all answers of an endpoint by their status."""
    made = _make_stream(endpoint) if endpoint.events else _make_response(endpoint.result, endpoint.headers)
    responses = {str(endpoint.status): made}
    if IF_NONE_MATCH in endpoint.parameters:
        responses["304"] = {"description": "Nothing has changed.", "headers": _refer(endpoint.headers)}
    for codes in _list_refusals(endpoint):
        responses[str(PROBLEM_STATUS[codes[0]])] = {"$ref": f"#/components/responses/{_name(codes)}"}
    if endpoint.unready:
        responses["503"] = _make_response(endpoint.result, ())
    return dict(sorted(responses.items()))


def make_problem_responses(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Describe every set of refusals of one status that an endpoint may meet, by its name."""
    found = {codes for endpoint in endpoints for codes in _list_refusals(endpoint)}
    return {_name(codes): _make_problem(codes) for codes in sorted(found)}


def make_headers() -> dict[str, Any]:
    """Describe the headers that every answer has, by their names."""
    return {each.name: _make_header(each) for each in EVERYWHERE}


def _list_refusals(endpoint: Endpoint) -> list[Codes]:
    """List the refusals that an endpoint may meet: its own, and those of all requests. One entry is of one status."""
    problems = {*endpoint.problems, *_ANY}
    if not endpoint.takes_body:
        problems.add(ProblemCode.INVALID_REQUEST)
    if not endpoint.public:
        problems |= set(_WITH_TOKEN)
    elif endpoint.changes:
        problems |= {ProblemCode.RATE_LIMITED, ProblemCode.UNAVAILABLE}
    ordered = [code for code in PROBLEM_STATUS if code in problems]
    return [tuple(codes) for _, codes in groupby(ordered, PROBLEM_STATUS.__getitem__)]


def _make_response(result: type[BaseModel] | None, headers: tuple[ResponseHeader, ...]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": "Done. The answer has no body.", "headers": _refer(headers)}
    if result is not None:
        response["description"] = inspect.getdoc(result)
        response["content"] = {"application/json": {"schema": reference(result), "example": EXAMPLES[result]}}
    return response


def _make_stream(endpoint: Endpoint) -> dict[str, Any]:
    """Describe a stream by one of its events, as tools read a schema of this media type. OpenAPI 3.1 knows none."""
    lines = [f"`{event}`: {model.__name__}. {inspect.getdoc(model)}" for event, model in endpoint.events.items()]
    examples = {
        event: {"value": {"event": event, "data": json.dumps(EXAMPLES[model])}}
        for event, model in endpoint.events.items()
    }
    return {
        "description": "\n\n".join(["Server-sent events, whose data is JSON:", *lines]),
        "headers": _refer(endpoint.headers),
        "content": {STREAM: {"schema": _make_event(endpoint.events), "examples": examples}},
    }


def _make_event(events: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    data = {"anyOf": [reference(model) for model in events.values()]}
    return {
        "type": "object",
        "properties": {
            "event": {"type": "string", "enum": list(events)},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
            "id": {"type": "string"},
            "retry": {"type": "integer"},
        },
        "required": ["event", "data"],
    }


def _make_problem(codes: Codes) -> dict[str, Any]:
    lines = [f"`{code}`: {' '.join(filter(None, MEANINGS[code]))}" for code in codes]
    headers = tuple({each.name: each for code in codes for each in PROBLEM_HEADERS.get(code, ())}.values())
    examples = {str(code): {"value": _make_example(code)} for code in codes}
    return {
        "description": "\n\n".join(lines),
        "headers": _refer(headers),
        "content": {MEDIA_TYPE: {"schema": reference(ProblemAnswer), "examples": examples}},
    }


def _make_example(code: ProblemCode) -> dict[str, Any]:
    status = PROBLEM_STATUS[code]
    return {
        "type": f"urn:hostwright:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": str(code),
        "detail": MEANINGS[code].cause,
        **MEMBERS.get(code, {}),
    }


def _name(codes: Codes) -> str:
    """The name of a set of refusals, such as NotFoundOrDeleted."""
    return "Or".join(code.title().replace("-", "") for code in codes)


def _refer(headers: tuple[ResponseHeader, ...]) -> dict[str, Any]:
    everywhere = {each.name: {"$ref": f"#/components/headers/{each.name}"} for each in EVERYWHERE}
    return {each.name: _make_header(each) for each in headers} | everywhere


def _make_header(header: ResponseHeader) -> dict[str, Any]:
    return {
        "description": header.description,
        "required": header.always,
        "schema": header.schema,
        "example": int(header.example) if header.schema["type"] == "integer" else header.example,
    }
