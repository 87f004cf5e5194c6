"""What happened in the lab, append-only: for a check that believes neither the database nor the state of the moment."""

import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

KEPT = 100_000


class History:
    """The last KEPT events, numbered from 1 without a gap."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._last = 0

    def add(self, kind: str, **facts: Any) -> None:
        """`kind` is proxmox, guest, dns, proxy or control."""
        self._last += 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._events.append({"seq": self._last, "monotonic": time.monotonic(), "time": now, "kind": kind, **facts})

    def after(self, seq: int) -> list[dict[str, Any]]:
        """The events that came after the one with this number."""
        return [event for event in self._events if event["seq"] > seq]
