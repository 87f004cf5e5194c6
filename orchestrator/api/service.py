"""Whether the process is alive and ready, for probes."""

import logging

from starlette.responses import JSONResponse, Response

from orchestrator.api.http.call import Call
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.domain.errors import ConfigurationError, StoreUnavailable
from orchestrator.store import sweep
from orchestrator.store.migrations import is_current

log = logging.getLogger(__name__)

_WORKER_SECONDS = 30.0
"""A worker counts as live for so long after it was last seen. It is seen at each of its sweeps."""
_PATIENCE_SECONDS = 1.0
"""How long a probe waits for the database: shorter than probes wait for us."""


async def healthz(call: Call) -> Response:
    """Answer at once: on the event loop, because all threads may be waiting for the database."""
    return JSONResponse({"status": "ok"})


def readyz(call: Call) -> Response:
    """Check that the database answers, that the schema is this release's, and that a worker is alive."""
    checks = {"database": False, "migrations": False, "worker": False}
    try:
        with call.parts.database.transaction(timeout=_PATIENCE_SECONDS) as connection:
            checks["database"] = True
            checks["migrations"] = is_current(connection)
        if checks["migrations"]:
            live = sweep.live_workers(call.parts.database, within_seconds=_WORKER_SECONDS)
            checks["worker"] = live > 0
    except StoreUnavailable as error:
        call.parts.database.outage.noticed(error)
    except ConfigurationError as error:
        log.warning("not ready: %s", error)
    ready = all(checks.values())
    return JSONResponse({"ready": ready, **checks}, 200 if ready else 503)


ENDPOINTS = (
    Endpoint("GET", "/healthz", healthz, "The process answers", public=True),
    Endpoint("GET", "/readyz", readyz, "Database, schema and a worker are there", public=True),
)
