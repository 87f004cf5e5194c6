"""The history of the lab: every event, in order, never changed afterwards.

A check can judge by it without trusting the database or the state of the moment.
"""

import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

KEPT_EVENTS = 100_000


class History:
    """The last KEPT_EVENTS events, numbered from 1 without a gap."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT_EVENTS)
        self._last = 0

    def add(self, kind: str, **facts: Any) -> None:
        """Add an event. `kind` is proxmox, fault, guest, dns, proxy or control."""
        self._last += 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._events.append({"seq": self._last, "monotonic": time.monotonic(), "time": now, "kind": kind, **facts})

    def after(self, seq: int) -> list[dict[str, Any]]:
        """The events with a higher number than `seq`."""
        return [event for event in self._events if event["seq"] > seq]
