"""Faults injected into the lab's own services. Proxmox and the agents keep theirs."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.lab.errors import InputError

Fault = dict[str, Any]


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 3600


def _http_status(value: Any) -> bool:
    return _count(value) and 400 <= value <= 599


def _rcode(value: Any) -> bool:
    return isinstance(value, str) and value in (
        "SERVFAIL",
        "REFUSED",
        "NXDOMAIN",
        "FORMERR",
        "NOTIMP",
        "NOTAUTH",
    )


Check = tuple[Callable[[Any], bool], str]
TEXT: Check = (_text, "must be a non-empty string")
COUNT: Check = (_count, "must be a whole number of at least 1")
SECONDS: Check = (_seconds, "must be a number of seconds from 0 to 3600")
RCODE: Check = (_rcode, "must be SERVFAIL, REFUSED, NXDOMAIN, FORMERR, NOTIMP or NOTAUTH")
STATUS: Check = (_http_status, "must be an HTTP status from 400 to 599")

# `method` and `path` (a part of the request path) narrow a fault to some requests, `view` to one DNS view.
HTTP: dict[str, Check] = {"times": COUNT, "method": TEXT, "path": TEXT, "httpStatus": STATUS, "hang": SECONDS}
FIELDS: dict[str, dict[str, Check]] = {
    "technitium": HTTP | {"status": TEXT, "errorMessage": TEXT},
    "cloudflare": HTTP | {"code": COUNT, "message": TEXT, "retryAfter": COUNT},
    "velocity": HTTP | {"message": TEXT},
    "dns": {"times": COUNT, "view": TEXT, "rcode": RCODE, "hang": SECONDS},
}
# What a fault does; one without any of these would pass unnoticed.
EFFECTS = {
    "technitium": ("status", "httpStatus", "hang"),
    "cloudflare": ("httpStatus", "hang"),
    "velocity": ("httpStatus", "hang"),
    "dns": ("rcode", "hang"),
}


class Faults:
    """The faults that wait for their request; each is used `times` times, or until cleared."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def inject(self, fault: Mapping[str, Any]) -> None:
        """Raises InputError for an unknown target or field, a bad value, or a fault without an effect."""
        target = fault.get("target")
        if not isinstance(target, str) or target not in FIELDS:
            raise InputError("target", f"must be one of {', '.join(FIELDS)}")
        for name, value in fault.items():
            if name == "target":
                continue
            if name not in FIELDS[target]:
                raise InputError(name, f"is unknown for {target}; known are {', '.join(FIELDS[target])}")
            accepts, expectation = FIELDS[target][name]
            if not accepts(value):
                raise InputError(name, expectation)
        effects = EFFECTS[target]
        if not any(name in fault for name in effects):
            raise InputError(effects[0], f"a fault for {target} needs one of {', '.join(effects)}")
        self._waiting.append(dict(fault))

    def take(self, target: str, *, method: str = "", path: str = "", view: str = "") -> Fault | None:
        """The oldest fault that fits this request, counted as used."""
        for fault in self._waiting:
            if (
                fault["target"] == target
                and fault.get("method", method).upper() == method.upper()
                and fault.get("path", "") in path
                and fault.get("view", view) == view
            ):
                self._use(fault)
                return fault
        return None

    def _use(self, fault: Fault) -> None:
        if "times" in fault:
            fault["times"] -= 1
            if fault["times"] <= 0:
                self._waiting.remove(fault)

    def clear(self) -> None:
        self._waiting.clear()
