"""The webhook of the proxy's bridge, which reports on the servers behind the proxy and proves itself by a secret."""

import hashlib
import hmac
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from starlette.responses import Response

from orchestrator.api.hooks.secrets import read_secret
from orchestrator.api.http.bodies import parse_body
from orchestrator.api.http.call import Call
from orchestrator.api.http.parameters import verbatim
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.store import accounts

SECRET = verbatim("X-Zpack-Secret", "header", "The SHA-256 of `velocity_secret` in hex.")


class ProxyStatus(BaseModel):
    """What the bridge reports of a server. Its names are those of the bridge, and it may send further members."""

    model_config = ConfigDict(frozen=True, strict=True, use_attribute_docstrings=True)

    server_name: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,253}$", validation_alias=AliasChoices("server_name", "serverName")
    )
    """The short host name of the server, which may also be called `serverName`."""
    event: Literal["registered_with_proxy", "proxy_ping_ok", "proxy_ping_failed"] = Field(
        validation_alias=AliasChoices("event", "status")
    )
    """What was seen of it, which may also be called `status`."""


def prove(call: Call) -> None:
    """Raises Problem (unauthenticated) when a callback does not carry the bridge's secret."""
    secret = read_secret(call, "velocity_secret")
    given = call.read(SECRET)
    expected = hashlib.sha256((secret or "").encode()).hexdigest()
    if secret is None or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Problem(
            ProblemCode.UNAUTHENTICATED,
            "the X-Zpack-Secret header is not the bridge's",
            headers={"WWW-Authenticate": SECRET.name},
        )
    call.actor = "proxy-bridge"


def take_status(call: Call) -> Response:
    """Store what the bridge reports of a server."""
    status = parse_body(ProxyStatus, call.body)
    accounts.set_proxy_status(call.parts.database, status.server_name, status.event)
    return Response(status_code=204)
