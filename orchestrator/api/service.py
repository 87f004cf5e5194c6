"""Around the contract: health, readiness, and the proxy's callbacks."""

import hashlib
import hmac
import json
import logging
import re

from starlette.responses import JSONResponse, Response

from orchestrator.api.http.call import Call
from orchestrator.api.instances.orders import invalid
from orchestrator.domain.errors import ConfigurationError, Problem, ProblemCode, StoreUnavailable
from orchestrator.store import accounts, sweep
from orchestrator.store.migrations import is_current

log = logging.getLogger(__name__)

_WORKER_SECONDS = 30.0
"""A worker that was not seen for so long is not counted as live; it shows itself at every sweep."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PROXY_EVENTS = frozenset({"registered_with_proxy", "proxy_ping_ok", "proxy_ping_failed"})


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


def proxy_status(call: Call) -> Response:
    """What the proxy's bridge says of a backend; the secret is the bridge's own."""
    secret = call.secret("velocity_secret")
    given = call.headers.get("x-zpack-secret", "")
    expected = hashlib.sha256((secret or "").encode()).hexdigest()
    if secret is None or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Problem(ProblemCode.UNAUTHENTICATED, "the X-Zpack-Secret header is not the bridge's")
    call.trace.actor = "proxy-bridge"
    name, event = _read_callback(call.body)
    accounts.set_proxy_status(call.parts.database, name, event)
    return Response(status_code=204)


def _read_callback(body: bytes) -> tuple[str, str]:
    """Server name and event of a callback, snake_case or camelCase."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        invalid([{"pointer": "", "detail": "the body must be a JSON object"}])
    name = data.get("server_name", data.get("serverName"))
    event = data.get("event", data.get("status"))
    errors = []
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        errors.append({"pointer": "/server_name", "detail": "must be a host name"})
    if not isinstance(event, str) or event not in _PROXY_EVENTS:
        errors.append({"pointer": "/event", "detail": f"must be one of {', '.join(sorted(_PROXY_EVENTS))}"})
    if errors:
        invalid(errors)
    return str(name), str(event)
