"""Whether the process is alive and ready, for probes, and the description of the API."""

from starlette.responses import JSONResponse, Response

from orchestrator.api.http.call import Call
from orchestrator.api.http.endpoint import Endpoint


async def healthz(call: Call) -> Response:
    """Answer at once: on the event loop, because all threads may be waiting for the database."""
    return JSONResponse({"status": "ok"})


async def readyz(call: Call) -> Response:
    """Check that the database answers, that the schema is this release's, and that a worker lives and can work."""
    checks = await call.parts.readiness.check()
    ready = all(checks.values())
    return JSONResponse({"ready": ready, **checks}, 200 if ready else 503)


async def show_document(call: Call) -> Response:
    """Show the OpenAPI document of the running release."""
    return Response(call.parts.document(call.prefix), media_type="application/json")


ENDPOINTS = (
    Endpoint("GET", "/healthz", "isAlive", healthz, "The process answers", public=True),
    Endpoint("GET", "/readyz", "isReady", readyz, "Database, schema and a worker are there", public=True),
    Endpoint("GET", "/openapi.json", "showDocument", show_document, "Describe the API in OpenAPI 3.1", public=True),
)
