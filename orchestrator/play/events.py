"""What an event of ansible-runner means to us: pure functions, tested on recorded event streams.

Phases are keyed on the play's name, because a nested role changes `role` but never the play. A failed task is only a
candidate for the operation's error (a rescued failure looks the same); the run's own status is the verdict.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.domain.models import Failure
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.updates import (
    CloneBegun,
    Logged,
    PhaseEntered,
    PublicationsRecorded,
    PublicationsStruck,
    Retried,
    Update,
)

Event = Mapping[str, Any]

_MESSAGE_CHARACTERS = 2000
_DETAIL_CHARACTERS = 8000
_DETAIL_DEPTH = 20


@dataclass(frozen=True)
class AddressSeen:
    """The container has this address."""

    address: str


def phase_of(event: Event) -> Phase | None:
    """The phase an event belongs to, or None for an event outside the phases."""
    name = _data(event).get("play")
    try:
        return Phase(name) if isinstance(name, str) else None
    except ValueError:
        return None


def to_updates(event: Event) -> Sequence[Update | AddressSeen | Failure]:
    """What an event tells us, in order; most events tell nothing."""
    phase = phase_of(event)
    if phase is None:
        return []
    result = _result(event)
    match event.get("event"):
        case "playbook_on_play_start":
            return [PhaseEntered(phase, phase.first_line)]
        case "runner_retry":
            return [Retried(phase, _attempts(result))]
        case "runner_on_ok":
            return _from_ok(phase, result)
        case "runner_on_failed" if _data(event).get("ignore_errors"):
            return _from_publications(result)
        case "runner_on_failed" | "runner_on_unreachable":
            return [*_from_publications(result), _from_failed(phase, event)]
    return []


def _from_ok(phase: Phase, result: Mapping[str, Any]) -> list[Update | AddressSeen | Failure]:
    told: list[Update | AddressSeen | Failure] = [*_from_publications(result)]
    address, upid = result.get("address"), result.get("clone_upid")
    progress = _line(result.get("progress"))
    if phase is Phase.WAIT_FOR_IP and isinstance(address, str) and _is_address(address):
        told.append(AddressSeen(address))
    elif phase is Phase.CLONE_CONTAINER and isinstance(upid, str) and upid.startswith("UPID:") and "\0" not in upid:
        told.append(CloneBegun(upid, progress or "cloning"))
    elif progress:
        told.append(Logged(phase, "info", progress))
    return told


def _from_publications(result: Mapping[str, Any]) -> list[Update]:
    """What is about to be published, and what is published no longer: a failed task may have taken some back."""
    told: list[Update] = []
    if recorded := _publications(result.get("publishing")):
        told.append(PublicationsRecorded(recorded))
    if struck := _publications(result.get("withdrawn")):
        told.append(PublicationsStruck(struck))
    return told


def _publications(value: Any) -> tuple[Publication, ...]:
    """Those of a list that are whole. What is not recorded is not made, so the task itself fails for a broken one."""
    fields = set(Publication.__dataclass_fields__)
    items = value if isinstance(value, list) else []
    whole = [item for item in items if isinstance(item, dict) and fields <= set(item)]
    return tuple(Publication(**{name: str(_storable(str(item[name]), 0)) for name in fields}) for item in whole)


def _from_failed(phase: Phase, event: Event) -> Failure:
    result = _result(event)
    return Failure(
        code=_code(result.get("code")),
        phase=phase,
        task=_line(_data(event).get("task")),
        message=_line(result.get("msg")) or "the task failed without a reason",
        detail=_detail(result.get("detail")),
    )


def _data(event: Event) -> Mapping[str, Any]:
    data = event.get("event_data")
    return data if isinstance(data, dict) else {}


def _result(event: Event) -> Mapping[str, Any]:
    result = _data(event).get("res")
    return result if isinstance(result, dict) else {}


def _attempts(result: Mapping[str, Any]) -> int:
    attempts = result.get("attempts")
    return attempts if type(attempts) is int and 0 < attempts < 2**31 else 1


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone has no meaning elsewhere, and the database takes none


def _code(value: Any) -> Code:
    try:
        return Code(value)
    except ValueError:
        return Code.INTERNAL


def _line(text: Any) -> str | None:
    """One bounded line of what can be shown: an event's text may hold what a customer or an agent wrote."""
    if not isinstance(text, str):
        return None
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * _MESSAGE_CHARACTERS])
    line = " ".join(shown.split())
    return line if len(line) <= _MESSAGE_CHARACTERS else line[: _MESSAGE_CHARACTERS - 1] + "…"


def _detail(value: Any) -> dict[str, Any] | None:
    """A failure's facts, bounded, and without what the database's JSON cannot hold."""
    if not isinstance(value, dict):
        return None
    detail: dict[str, Any] = _storable(value, _DETAIL_DEPTH)
    text = json.dumps(detail)
    return detail if len(text) <= _DETAIL_CHARACTERS else {"truncated": text[:_DETAIL_CHARACTERS]}


def _storable(value: Any, depth: int) -> Any:
    """PostgreSQL's JSON has neither NUL nor lone surrogates nor NaN."""
    match value:
        case str():
            return value.replace("\0", "").encode("utf-8", "replace").decode()
        case dict() | list() if depth == 0:
            return "…"
        case dict():
            return {_storable(str(key), 0): _storable(item, depth - 1) for key, item in value.items()}
        case list():
            return [_storable(item, depth - 1) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float():
            return value
    return str(value)
