"""What every task on a container is told, and the session that it asks for by that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from orchestrator.drivers.proxmox.client import REQUEST_TIMEOUT, Endpoint
from orchestrator.drivers.proxmox.session import Session
from orchestrator.drivers.secrets import Secrets

CONNECTION: Mapping[str, Any] = {
    "type": "dict",
    "required": True,
    "options": {
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "default": 8006},
        "node": {"type": "str", "required": True},
        "user": {"type": "str", "required": True},
        "token_name": {"type": "str", "required": True},
        "ca_file": {"type": "str"},
        "secret": {"type": "str", "default": "proxmox_token"},
    },
}
"""The argument `proxmox` of every task: where to ask, and the name of the secret with the token's value."""

COMMON: Mapping[str, Any] = {
    "proxmox": CONNECTION,
    "vmid": {"type": "int", "required": True},
    "timeout": {"type": "int", "required": True},
}


@contextmanager
def open_session(
    args: Mapping[str, Any], secrets: Secrets, request_timeout: float = REQUEST_TIMEOUT
) -> Iterator[Session]:
    """The session that a task's checked arguments ask for; `request_timeout` in seconds."""
    where = args["proxmox"]
    endpoint = Endpoint(
        host=where["host"],
        port=where["port"],
        node=where["node"],
        user=where["user"],
        token_name=where["token_name"],
        ca_file=where.get("ca_file"),
        timeout=request_timeout,
    )
    session = Session(endpoint, secrets.get(where["secret"]), args["vmid"], args["timeout"], args.get("waited", 0.0))
    try:
        yield session
    finally:
        session.proxmox.close()
