"""Turns events of ansible-runner into updates, by pure functions. They are tested on recorded event streams.

The name of the play says which phase an event belongs to, because a nested role changes `role` but never the play. A
failed task need not be why the operation failed, because a rescued failure looks the same. Only the run's own status
says whether it failed.
"""

import errno
import json
import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
_PRINTED_LINES = 20
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""A sequence that sets a terminal's colours (ECMA-48)."""


@dataclass(frozen=True)
class AddressSeen:
    """The container was seen to have this address."""

    address: str


_TASK_ENDS = frozenset({"runner_on_ok", "runner_on_failed", "runner_on_skipped", "runner_on_unreachable"})


class Heard:
    """What a run has shown of itself. Its exit status alone says neither that it did its work nor why it did not.

    When its disk is full, ansible-core 2.19 goes through all plays, loses what becomes of each task, and ends well.
    """

    def __init__(self) -> None:
        self._begun: list[str] = []
        self._worked: set[str] = set()
        self._open: dict[Any, str] = {}
        self._ended = False
        self._printed: deque[str] = deque(maxlen=_PRINTED_LINES)

    def hear(self, event: Event) -> None:
        """Take an event. Raises OSError for one whose text arrived and whose data did not."""
        match event.get("event"):
            case "playbook_on_play_start":
                self._begun.append(str(_get_data(event).get("play")))
            case "playbook_on_task_start":
                data = _get_data(event)
                self._open[data.get("task_uuid")] = str(data.get("play"))
            case name if name in _TASK_ENDS:
                data = _get_data(event)
                self._open.pop(data.get("task_uuid"), None)
                self._worked.add(str(data.get("play")))
            case "playbook_on_stats":
                self._ended = True
            case "verbose":
                self._print(event.get("stdout"))
            case None:
                raise OSError(errno.EIO, "the data of an event did not arrive")

    def find_fault(self, plays: Sequence[str], *, successful: bool) -> str | None:
        """Return why this machine, and not what was played, is at fault for how a run of these plays ended."""
        if not successful:
            return None if self._begun else f"ansible-playbook ended before its first play: {self.quote()}"
        unseen = [play for play in plays if play not in self._worked or play in self._open.values()]
        if unseen or not self._ended:
            lost = f"its events did not arrive ({self.quote()})"
            named = ", ".join(unseen) or "the end"
            return f"ansible-playbook ended well, but {lost}; nothing was seen of {named}"
        return None

    def _print(self, text: Any) -> None:
        line = _make_line(_ESCAPE.sub("", text)) if isinstance(text, str) else None
        if line:
            self._printed.append(line)

    def quote(self) -> str:
        """Return the end of what was printed, where ansible-playbook says why it ended."""
        return " ".join(self._printed)[-_MESSAGE_CHARACTERS:] or "it printed nothing"


def phase_of(event: Event) -> Phase | None:
    """Return the phase to which an event belongs, or None for an event outside the phases."""
    name = _get_data(event).get("play")
    try:
        return Phase(name) if isinstance(name, str) else None
    except ValueError:
        return None


def to_updates(event: Event) -> Sequence[Update | AddressSeen | Failure]:
    """Return what an event tells, in order. Most events tell nothing."""
    phase = phase_of(event)
    if phase is None:
        return []
    result = _get_result(event)
    match event.get("event"):
        case "playbook_on_play_start":
            return [PhaseEntered(phase, phase.first_line)]
        case "runner_retry":
            notice = _make_line(result.get("notice"))
            told = [*_read_publications(result), Retried(phase, _read_attempts(result))]
            return [*told, Logged(phase, "info", notice)] if notice else told
        case "runner_on_ok":
            return _read_ok(phase, result)
        case "runner_on_failed" if _get_data(event).get("ignore_errors"):
            return _read_publications(result)
        case "runner_on_failed" | "runner_on_unreachable":
            return [*_read_publications(result), _read_failure(phase, event)]
    return []


def _read_ok(phase: Phase, result: Mapping[str, Any]) -> list[Update | AddressSeen | Failure]:
    told: list[Update | AddressSeen | Failure] = [*_read_publications(result)]
    address, upid = result.get("address"), result.get("clone_upid")
    progress = _make_line(result.get("progress"))
    if phase is Phase.WAIT_FOR_IP and isinstance(address, str) and _is_address(address):
        told.append(AddressSeen(address))
    elif phase is Phase.CLONE_CONTAINER and isinstance(upid, str) and upid.startswith("UPID:") and "\0" not in upid:
        told.append(CloneBegun(upid, progress or "cloning"))
    elif progress:
        told.append(Logged(phase, "info", progress))
    return told


def _read_publications(result: Mapping[str, Any]) -> list[Update]:
    """Return what is about to be published and what was taken back. A failed task may have taken some back, too."""
    told: list[Update] = []
    if recorded := _parse_publications(result.get("publishing")):
        told.append(PublicationsRecorded(recorded))
    if struck := _parse_publications(result.get("withdrawn")):
        told.append(PublicationsStruck(struck))
    return told


def _parse_publications(value: Any) -> tuple[Publication, ...]:
    """Return the complete publications of a list.

    The others can be passed over: a publication that is not recorded is not made, and so the task fails.
    """
    whole = []
    for item in value if isinstance(value, list) else ():
        with suppress(ValueError):
            whole.append(Publication.from_dict(_make_storable(item, 2) if isinstance(item, dict) else {}))
    return tuple(whole)


def _read_failure(phase: Phase, event: Event) -> Failure:
    result = _get_result(event)
    return Failure(
        code=_parse_code(result.get("code")),
        phase=phase,
        task=_make_line(_get_data(event).get("task")),
        message=_make_line(result.get("msg")) or "the task failed without a reason",
        detail=_bound_detail(result.get("detail")),
    )


def _get_data(event: Event) -> Mapping[str, Any]:
    data = event.get("event_data")
    return data if isinstance(data, dict) else {}


def _get_result(event: Event) -> Mapping[str, Any]:
    result = _get_data(event).get("res")
    return result if isinstance(result, dict) else {}


def _read_attempts(result: Mapping[str, Any]) -> int:
    attempts = result.get("attempts")
    return attempts if type(attempts) is int and 0 < attempts < 2**31 else 1


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a scope has no meaning on another machine, and the database refuses it


def _parse_code(value: Any) -> Code:
    try:
        return Code(value)
    except ValueError:
        return Code.INTERNAL


def _make_line(text: Any) -> str | None:
    """Return one bounded, printable line. The text of an event may hold what a customer or an agent wrote."""
    if not isinstance(text, str):
        return None
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * _MESSAGE_CHARACTERS])
    line = " ".join(shown.split())
    return line if len(line) <= _MESSAGE_CHARACTERS else line[: _MESSAGE_CHARACTERS - 1] + "…"


def _bound_detail(value: Any) -> dict[str, Any] | None:
    """Return the details of a failure, bounded, and without what the database's JSON cannot hold."""
    if not isinstance(value, dict):
        return None
    detail: dict[str, Any] = _make_storable(value, _DETAIL_DEPTH)
    text = json.dumps(detail)
    return detail if len(text) <= _DETAIL_CHARACTERS else {"truncated": text[:_DETAIL_CHARACTERS]}


def _make_storable(value: Any, depth: int) -> Any:
    """Return the value as PostgreSQL's JSON can hold it, which allows no NUL, no lone surrogates and no NaN."""
    match value:
        case str():
            return value.replace("\0", "").encode("utf-8", "replace").decode()
        case dict() | list() if depth == 0:
            return "…"
        case dict():
            return {_make_storable(str(key), 0): _make_storable(item, depth - 1) for key, item in value.items()}
        case list():
            return [_make_storable(item, depth - 1) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float():
            return value
    return str(value)
