"""Faults: what a service of the lab is told to do wrong, and how often.

A fault is a JSON object with a `target`. The services of the lab take theirs from `Faults`; Proxmox and the agents keep
their own lists, and have their fields checked here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

from orchestrator.lab.errors import InputError

Fault = dict[str, Any]
AGENT_BEHAVIOURS = ("reject", "error", "crash", "hang", "late", "die")
RCODES = ("NOERROR", "SERVFAIL", "REFUSED", "NXDOMAIN", "FORMERR", "NOTIMP", "NOTAUTH")


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number; JSON's true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: Any) -> bool:
    return is_integer(value) and value >= 1


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 3600


def _is_http_error(value: Any) -> bool:
    return is_integer(value) and 400 <= value <= 599


Check = tuple[Callable[[Any], bool], str]
"""Whether a value is accepted, and the sentence for one that is not."""
TEXT: Check = (_is_text, "must be a non-empty string")
INTEGER: Check = (is_integer, "must be a whole number")
COUNT: Check = (_is_count, "must be a whole number of at least 1")
SECONDS: Check = (_is_duration, "must be a number of seconds from 0 to 3600")
STATUS: Check = (_is_http_error, "must be an HTTP status from 400 to 599")
RCODE: Check = (lambda value: value in RCODES, f"must be {', '.join(RCODES[:-1])} or {RCODES[-1]}")

# `method` and `path` (a part of the request's path) narrow a fault to some requests, `view` to one DNS view.
# `retryAfter` and `retryDate` are both seconds: the answer's Retry-After says them, or the date that they lead to.
HTTP: dict[str, Check] = {
    "times": COUNT,
    "method": TEXT,
    "path": TEXT,
    "httpStatus": STATUS,
    "retryAfter": COUNT,
    "retryDate": COUNT,
    "hang": SECONDS,
}
FIELDS: dict[str, dict[str, Check]] = {
    "technitium": HTTP | {"status": TEXT, "errorMessage": TEXT},
    "cloudflare": HTTP | {"code": COUNT, "message": TEXT},
    "velocity": HTTP | {"message": TEXT},
    "mc-router": HTTP,
    "dns": {"times": COUNT, "view": TEXT, "rcode": RCODE, "hang": SECONDS},
}
# A fault with none of these fields would do nothing, and nobody would notice.
EFFECTS = {
    "technitium": ("status", "httpStatus", "hang"),
    "cloudflare": ("httpStatus", "hang"),
    "velocity": ("httpStatus", "hang"),
    "mc-router": ("httpStatus", "hang"),
    "dns": ("rcode", "hang"),
}
TARGETS = ("proxmox", "agent", *FIELDS)


def require(name: str, value: Any, check: Check) -> None:
    """Raises InputError when the value of this field is not accepted."""
    accepts, expectation = check
    if not accepts(value):
        raise InputError(name, expectation)


def check_guest_fault(fault: Fault) -> None:
    """Check the fields that faults of Proxmox and of agents share. Raises InputError.

    Their own code checks the other fields."""
    for name, check in (("times", COUNT), ("vmid", INTEGER)):
        if fault.get(name) is not None:
            require(name, fault[name], check)
    if fault["target"] == "agent" and fault.get("behaviour") not in AGENT_BEHAVIOURS:
        raise InputError("behaviour", f"must be one of {', '.join(AGENT_BEHAVIOURS)}")
    for name in ("seconds", "back"):
        if name in fault:
            require(name, fault[name], SECONDS)
    if fault.get("error") == "delay" and "seconds" not in fault:
        raise InputError("seconds", SECONDS[1])
    if fault["target"] == "proxmox" and not fault.keys() & {"status", "error"}:
        raise InputError("status", "a fault for proxmox needs status or error")


def take_first(waiting: list[Fault], fits: Callable[[Fault], bool]) -> Fault | None:
    """The oldest waiting fault that fits, counted as used once; a fault without `times` is never used up."""
    fault = next(filter(fits, waiting), None)
    if fault is not None:
        fault["met"] = True
    if fault is not None and fault.get("times") is not None:
        fault["times"] -= 1
        if fault["times"] <= 0:
            waiting.remove(fault)
    return fault


def find_unmet(waiting: Iterable[Fault]) -> list[Fault]:
    return [fault for fault in waiting if not fault.get("met")]


class Faults:
    """The faults that wait for a request to one of the lab's own services."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def inject(self, fault: Mapping[str, Any]) -> None:
        """Add a fault. Raises InputError for an unknown target or field, a bad value, or a fault without an effect."""
        target = fault.get("target")
        if not isinstance(target, str) or target not in FIELDS:
            raise InputError("target", f"must be one of {', '.join(FIELDS)}")
        fields = FIELDS[target]
        for name in fault:
            if name != "target" and name not in fields:
                raise InputError(name, f"is unknown for {target}; known are {', '.join(fields)}")
            if name != "target":
                require(name, fault[name], fields[name])
        effects = EFFECTS[target]
        if not any(name in fault for name in effects):
            raise InputError(effects[0], f"a fault for {target} needs one of {', '.join(effects)}")
        self._waiting.append(dict(fault))

    def take(self, target: str, *, method: str = "", path: str = "", view: str = "") -> Fault | None:
        """The oldest fault that fits this request, counted as used once."""
        return take_first(
            self._waiting,
            lambda fault: (
                fault["target"] == target
                and fault.get("method", method).upper() == method.upper()
                and fault.get("path", "") in path
                and fault.get("view", view) == view
            ),
        )

    def unmet(self) -> list[Fault]:
        """The faults that no request has met."""
        return find_unmet(self._waiting)

    def clear(self) -> None:
        self._waiting.clear()
