"""What the OpenAPI document says of each parameter, by its name and, where that means more than one thing, its path."""

from collections.abc import Iterable
from typing import Any

from orchestrator.api.instances.handlers import Truth
from orchestrator.api.instances.orders import CUSTOMER_ID
from orchestrator.domain.operations import KINDS
from orchestrator.domain.states import OperationStatus

_MAX_SEQ = 2**62
_UUID = {"type": "string", "format": "uuid"}
_CUSTOMER = {"type": "string", "pattern": f"^{CUSTOMER_ID.pattern}$"}
_EVENTS = "/api/instances/operations/{operation_id}/events"


def _number(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


def _choice(choices: Iterable[str]) -> dict[str, Any]:
    return {"type": "string", "enum": [str(each) for each in choices]}


_BY_NAME: dict[str, dict[str, Any]] = {
    "operation_id": _UUID,
    "token_id": _UUID,
    "server_id": {"anyOf": [_UUID, _number(0, 999_999_999)]},
    "customer_id": _CUSTOMER,
    "customerId": _CUSTOMER,
    "status": _choice(OperationStatus),
    "kind": _choice(KINDS),
    "leaked": _choice(Truth),
    "after": _UUID,
    "limit": _number(1, 200),
    "Idempotency-Key": {"type": "string", "pattern": r"^[\x21\x23-\x7e]{1,255}$"},
    "Prefer": {"type": "string", "description": "`wait=N`: answer after N seconds at the latest, at most 30."},
}
_BY_PATH: dict[tuple[str, str], dict[str, Any]] = {
    (_EVENTS, "after"): _number(0, _MAX_SEQ),
    (_EVENTS, "limit"): _number(1, 500),
    ("/api/audit", "after"): _number(1, _MAX_SEQ),
    ("/api/audit", "limit"): _number(1, 500),
    ("/api/customers", "after"): _CUSTOMER,
}


def schema(path: str, name: str) -> dict[str, Any]:
    """The schema of a parameter of a path; any text where nothing more is known."""
    return _BY_PATH.get((path, name)) or _BY_NAME.get(name, {"type": "string"})
