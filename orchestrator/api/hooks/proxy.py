"""The webhook of the proxy's bridge, which reports on the servers behind the proxy and proves itself by a secret."""

import hashlib
import hmac
import json
import re

from starlette.responses import Response

from orchestrator.api.hooks.secrets import read_secret
from orchestrator.api.http.call import Call
from orchestrator.api.http.parameters import verbatim
from orchestrator.api.http.problems import invalid
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.store import accounts

SECRET = verbatim("X-Zpack-Secret", "header")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PROXY_EVENTS = frozenset({"registered_with_proxy", "proxy_ping_ok", "proxy_ping_failed"})


def prove(call: Call) -> None:
    """Raises Problem (unauthenticated) when a callback does not carry the bridge's secret."""
    secret = read_secret(call, "velocity_secret")
    given = call.read(SECRET)
    expected = hashlib.sha256((secret or "").encode()).hexdigest()
    if secret is None or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Problem(ProblemCode.UNAUTHENTICATED, "the X-Zpack-Secret header is not the bridge's")
    call.actor = "proxy-bridge"


def take_status(call: Call) -> Response:
    """Store what the bridge reports of a server."""
    name, event = _read_callback(call.body)
    accounts.set_proxy_status(call.parts.database, name, event)
    return Response(status_code=204)


def _read_callback(body: bytes) -> tuple[str, str]:
    """Read the server name and the event of a callback, which may be written in snake_case or camelCase."""
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
