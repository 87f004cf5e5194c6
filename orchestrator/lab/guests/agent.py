"""How an agent in the lab is run: its port, its durations, its token and its faults."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AGENT_PORT = 18888

# Durations in seconds at speed 1.
INSTALL_SECONDS = 1.0
START_SECONDS = 0.5
BACKOFF_SECONDS = (30.0, 60.0, 120.0)


def duration_options(speed: float) -> list[str]:
    """The agent's options for its durations."""
    backoff = ",".join(str(seconds * speed) for seconds in BACKOFF_SECONDS)
    return [
        "--install-seconds", str(INSTALL_SECONDS * speed), "--start-seconds", str(START_SECONDS * speed),
        "--backoff", backoff,
    ]  # fmt: skip


def write_private(file: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Write a new file that only its owner can read; `owner` is a user and a group id."""
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        if owner is not None:
            os.fchown(descriptor, *owner)
        opened.write(text)


class AgentFaults:
    """The file that tells the agents what to do wrong. All agents share it, and count beside it what they used up."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._armed: list[Mapping[str, Any]] = []
        self.set([])

    def set(self, faults: list[Mapping[str, Any]]) -> None:
        self._armed = faults
        for used in self.file.parent.glob(f"{self.file.name}.*"):
            if used.name.split(".")[-2] not in {str(fault.get("id")) for fault in faults}:
                used.unlink(missing_ok=True)
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(faults))
        partial.replace(self.file)

    def seconds_until_return(self, vmid: int) -> float | None:
        """How many seconds after its death an agent is started again; None when it stays dead."""
        dying = (fault for fault in self._armed if fault["behaviour"] == "die" and fault["vmid"] in (None, vmid))
        return next((float(fault["back"]) for fault in dying if "back" in fault), None)
