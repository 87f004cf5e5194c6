"""The argument that says of a game server how the world reaches it, the same for every task of the edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.drivers.proxy.base import Registration

SERVER: Mapping[str, Any] = {
    "type": "dict",
    "required": True,
    "options": {
        "hostname": {"type": "str", "required": True},
        "server_id": {"type": "str", "required": True},
        "service": {"type": "str", "required": True},
        "protocol": {"type": "str", "required": True, "choices": ["tcp", "udp"]},
        "public_port": {"type": "int", "required": True},
        "zones": {"type": "list", "elements": "str", "required": True},
        "address": {"type": "str", "default": ""},
        "port": {"type": "int", "required": True},
    },
}
"""The argument `server`: short host name, id for the mark, SRV service and protocol, the port that players take, the
zones in which they find it, and the container's own address and port."""


def registration(server: Mapping[str, Any]) -> Registration:
    """What a proxy is told of it."""
    return Registration(
        name=server["hostname"],
        server_id=server["server_id"],
        address=server["address"],
        port=server["port"],
        zones=server["zones"],
        protocol=server["protocol"],
        public_port=server["public_port"],
    )
