"""Around the contract: whether the process lives and is ready."""

import logging

from starlette.responses import JSONResponse, Response

from orchestrator.api.http.call import Call
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.domain.errors import ConfigurationError, StoreUnavailable
from orchestrator.store import sweep
from orchestrator.store.migrations import is_current

log = logging.getLogger(__name__)

_WORKER_SECONDS = 30.0
"""A worker that was not seen for so long is not counted as live; it shows itself at every sweep."""


async def healthz(call: Call) -> Response:
    """The process answers: on the loop, so that it does not wait behind threads that wait for the database."""
    return JSONResponse({"status": "ok"})


def readyz(call: Call) -> Response:
    """The database answers, the schema is this release's, and a worker is alive."""
    checks = {"database": False, "migrations": False, "worker": False}
    try:
        with call.parts.database.transaction() as connection:
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
