"""One example of each body and each answer, for the OpenAPI document. A test holds them against their schemas."""

from typing import Any

from pydantic import BaseModel

from orchestrator.api.audit import AuditPage
from orchestrator.api.catalog import CatalogAnswer
from orchestrator.api.customers import CustomerAnswer, CustomerChange, CustomerPage
from orchestrator.api.hooks.billing import BillingEvent
from orchestrator.api.hooks.callback import CallbackReport
from orchestrator.api.hooks.proxy import ProxyStatus
from orchestrator.api.http.response_headers import EXAMPLE_OPERATION
from orchestrator.api.instances.answers import InstanceAnswer, InstancePage, LegacyPage
from orchestrator.api.instances.orders import DevOrder, GameOrder
from orchestrator.api.operations.answers import (
    Accepted,
    EndAnswer,
    EventAnswer,
    EventPage,
    OperationAnswer,
    OperationPage,
)
from orchestrator.api.service import DocumentAnswer, HealthAnswer, ReadinessAnswer
from orchestrator.api.tokens import NewToken, TokenPage, TokenRequest
from orchestrator.domain.errors import ProblemCode

_REQUEST = "3fe3b39f-0c41-4fc4-871a-b6fe30c41796"
_SERVER = "bef91701-8632-43c8-8040-07b0dd94f9a8"
_TOKEN = "3f0f3bd5-5b53-4b0a-9f62-0c4f4f1b1a0e"  # noqa: S105 - an id, not a secret
_OPERATION_PATH = f"/api/instances/operations/{EXAMPLE_OPERATION}"
_SERVER_PATH = f"/api/instances/{_SERVER}"
_ORDERED_AT = "2026-11-22T21:24:25.914976Z"
_READY_AT = "2026-11-22T21:24:32.949697Z"

_ACCEPTED = {
    "operationId": EXAMPLE_OPERATION, "requestId": _REQUEST, "serverId": _SERVER, "status": "queued", "phase": None,
    "statusUrl": _OPERATION_PATH,
}  # fmt: skip
_OPERATION_ANSWER: dict[str, Any] = {
    "operationId": EXAMPLE_OPERATION, "requestId": _REQUEST, "kind": "provision", "status": "running",
    "phase": "clone-container", "attempt": 1, "serverId": _SERVER, "customerId": "acme", "vmid": 5000,
    "hostname": "mc-vanilla-5000", "ctype": "game", "game": "minecraft", "variant": "vanilla", "runtime": None,
    "version": "1.21.7",
    "phases": [
        {
            "name": "clone-container", "status": "running", "startedAt": "2026-11-22T21:24:26.102331Z",
            "finishedAt": None, "durationMs": None, "retries": 0,
        },
    ],
    "heartbeatAt": "2026-11-22T21:24:27.016054Z", "queuePosition": None, "nextTryAt": None,
    "queueReason": None, "createdAt": _ORDERED_AT, "startedAt": "2026-11-22T21:24:26.004100Z",
    "finishedAt": None, "deadlineAt": "2026-11-22T22:04:26.004100Z",
    "error": None, "cleanup": None, "retryOf": None,
    "request": {
        "ctype": "game", "game": "minecraft", "variant": "vanilla", "version": "1.21.7", "world": "world",
        "env": {"MOTD": "***"}, "memoryMiB": 2048, "cpuCores": 2, "diskGiB": 8, "onFailure": "cleanup",
    },
    "links": {
        "self": _OPERATION_PATH, "events": f"{_OPERATION_PATH}/events", "stream": f"{_OPERATION_PATH}/stream",
        "instance": _SERVER_PATH, "cancel": f"{_OPERATION_PATH}/cancel",
    },
}  # fmt: skip
_INSTANCE = {
    "serverId": _SERVER, "customerId": "acme", "status": "ready", "vmid": 5000, "hostname": "mc-vanilla-5000",
    "ctype": "game", "game": "minecraft", "variant": "vanilla", "version": "1.21.7", "runtime": None,
    "memoryMiB": 2048, "cpuCores": 2, "diskGiB": 8, "createdAt": _ORDERED_AT, "readyAt": _READY_AT,
    "address": "192.0.2.17", "publicPort": 25565,
    "join": {
        "address": "mc-vanilla-5000.games.example", "port": 25565,
        "srv": "_minecraft._tcp.mc-vanilla-5000.games.example",
    },
    "editor": None, "proxyStatus": "proxy_ping_ok", "leaked": [], "failingSince": None, "nextTryAt": None,
    "expiresAt": None, "activeOperationId": None, "links": {"self": _SERVER_PATH},
}  # fmt: skip
_LIMITS = {"instances": None, "memoryMiB": None, "cpuCores": None}
_USED = {"instances": 1, "memoryMiB": 2048, "cpuCores": 2}
_CUSTOMER = {
    "customerId": "acme", "billingState": "active", "createdAt": _ORDERED_AT,
    "limits": {
        "instances": 10, "memoryMiB": 131072, "cpuCores": 64, "game": _LIMITS | {"instances": 5}, "dev": _LIMITS
    },
    "usage": {**_USED, "game": _USED, "dev": dict.fromkeys(_USED, 0)},
}  # fmt: skip
_TOKEN_ANSWER = {
    "tokenId": _TOKEN, "name": "portal", "customerId": "acme", "createdAt": _ORDERED_AT,
    "expiresAt": "2027-01-01T00:00:00Z", "revokedAt": None, "lastUsedAt": None, "lastAddress": None,
}  # fmt: skip

_CLONING = {
    "seq": 2, "at": _READY_AT, "phase": "clone-container", "level": "info", "message": "cloning the template",
}  # fmt: skip
EXAMPLES: dict[type[BaseModel], dict[str, Any]] = {
    GameOrder: {"ctype": "game", "variant": "vanilla", "version": "1.21.7", "env": {"MOTD": "Welcome"}},
    DevOrder: {"ctype": "dev", "runtime": "python", "version": "3.12", "enableCodeServer": True},
    Accepted: _ACCEPTED,
    OperationAnswer: _OPERATION_ANSWER,
    OperationPage: {"operations": [_OPERATION_ANSWER | {"phases": None}], "next": None},
    EventAnswer: _CLONING,
    EventPage: {
        "events": [{"seq": 1, "at": _ORDERED_AT, "phase": None, "level": "info", "message": "accepted"}, _CLONING],
        "next": 2,
    },
    EndAnswer: {"status": "succeeded"},
    InstanceAnswer: _INSTANCE,
    InstancePage: {"instances": [_INSTANCE], "next": _SERVER},
    LegacyPage: {
        "servers": [
            {
                "id": "5000", "name": "mc-vanilla-5000", "category": "GAME", "runtime": None, "flavor": "vanilla",
                "version": "1.21.7", "status": "ready",
            },
        ]
    },
    CatalogAnswer: {
        "limits": {
            "game": {
                "memoryMiB": {"minimum": 512, "default": 2048, "maximum": 16384},
                "cpuCores": {"minimum": 1, "default": 2, "maximum": 8},
                "diskGiB": {"minimum": 8, "default": 8, "maximum": 100},
            }
        },
        "games": [
            {
                "game": "minecraft", "protocol": "tcp", "reachedBy": "name",
                "variants": [{"variant": "vanilla", "versions": ["1.21.7"]}],
            }
        ],
        "runtimes": [{"runtime": "python", "versions": ["3.12"]}],
    },
    CustomerChange: {"billingState": "active", "limits": {"instances": 10, "game": {"instances": 5}}},
    CustomerAnswer: _CUSTOMER,
    CustomerPage: {"customers": [_CUSTOMER], "next": None},
    TokenRequest: {"name": "portal", "customerId": "acme", "expiresAt": "2027-01-01T00:00:00Z"},
    NewToken: _TOKEN_ANSWER | {"token": "hw_0123456789abcdefghijklmnopqrstuvwxyz"},
    TokenPage: {"tokens": [_TOKEN_ANSWER], "next": None},
    AuditPage: {
        "entries": [
            {
                "seq": 1207, "at": _ORDERED_AT, "principal": "portal", "tokenId": _TOKEN, "customerId": "acme",
                "address": "198.51.100.7", "method": "DELETE", "route": "/api/instances/{server_id}", "target": "5000",
                "status": 202, "code": None, "operationId": EXAMPLE_OPERATION,
            },
        ],
        "next": 1207,
    },
    BillingEvent: {
        "id": "evt-4711", "customerId": "acme", "billingState": "past_due", "occurredAt": "2026-11-24T12:00:00Z",
    },
    ProxyStatus: {"server_name": "mc-vanilla-5000", "event": "proxy_ping_ok"},
    CallbackReport: {"status": "provisioned", "message": "the world is made"},
    HealthAnswer: {"status": "ok"},
    ReadinessAnswer: {"ready": True, "database": True, "migrations": True, "worker": True},
    DocumentAnswer: {
        "openapi": "3.1.0", "info": {"title": "Hostwright"}, "servers": [{"url": "/"}], "paths": {}, "components": {},
    },
}  # fmt: skip
"""By model, with the names on the wire."""

_STANDS = {"operationId": EXAMPLE_OPERATION}
MEMBERS: dict[ProblemCode, dict[str, Any]] = {
    ProblemCode.INVALID_REQUEST: {
        "errors": [{"pointer": "/variant", "detail": "is not in the catalogue; there is: vanilla, paper"}]
    },
    ProblemCode.QUOTA_EXCEEDED: {"resource": "instances", "ctype": "game", "limit": 5, "used": 5, "requested": 1},
    ProblemCode.DELETED: {"deletedAt": "2026-11-24T12:00:00Z"},
    ProblemCode.IDEMPOTENCY_KEY_REUSED: _STANDS,
    ProblemCode.CREATE_IN_PROGRESS: _STANDS,
    ProblemCode.INSTANCE_BUSY: _STANDS,
}
"""What the answers to refusals hold beside the members of all, by code."""
