"""Whether the process is alive and ready, for probes, and the description of the API."""

from typing import Any, Literal

from pydantic import ConfigDict
from starlette.responses import Response

from orchestrator.api.http.answers import Answer, answer
from orchestrator.api.http.call import Call
from orchestrator.api.http.endpoint import Endpoint


class HealthAnswer(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"
    """Always `ok`: a process that is not well does not answer."""


class ReadinessAnswer(Answer):
    """What is there of what the API needs."""

    ready: bool
    """Whether all of it is there."""
    database: bool
    """Whether the database answers."""
    migrations: bool
    """Whether the schema of the database is this release's."""
    worker: bool
    """Whether a worker lives and can work."""


class DocumentAnswer(Answer):
    """An OpenAPI document."""

    model_config = ConfigDict(extra="allow")

    openapi: str
    """The version of OpenAPI."""
    info: dict[str, Any]
    """Title, version and licence."""
    servers: list[dict[str, Any]]
    """Where the API is: its prefix behind a proxy, or `/`."""
    paths: dict[str, Any]
    """The operations by path and method."""
    components: dict[str, Any]
    """What operations refer to: schemas, responses, headers."""


async def healthz(call: Call) -> Response:
    """Answer at once: on the event loop, because all threads may be waiting for the database."""
    return answer(HealthAnswer())


async def readyz(call: Call) -> Response:
    """Check that the database answers, that the schema is this release's, and that a worker lives and can work."""
    checks = await call.parts.readiness.check()
    ready = all(checks.values())
    return answer(ReadinessAnswer(ready=ready, **checks), 200 if ready else 503)


async def show_document(call: Call) -> Response:
    """Show the OpenAPI document of the running release."""
    return Response(call.parts.document(call.prefix), media_type="application/json")


ENDPOINTS = (
    Endpoint("GET", "/healthz", "isAlive", healthz, "The process answers", result=HealthAnswer, public=True),
    Endpoint(
        "GET", "/readyz", "isReady", readyz, "Database, schema and a worker are there",
        result=ReadinessAnswer, unready=True, public=True,
    ),
    Endpoint(
        "GET", "/openapi.json", "showDocument", show_document, "Describe the API in OpenAPI 3.1",
        result=DocumentAnswer, public=True,
    ),
)  # fmt: skip
