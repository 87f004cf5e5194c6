"""Describes how a game that is not Minecraft is asked whether it answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Probe:
    """What is sent to a game, and the first bytes of its answer. Any answer counts when `expect` is empty.

    Raises ValueError when the question cannot be asked.
    """

    protocol: str
    send: bytes = b""
    expect: bytes = b""

    def __post_init__(self) -> None:
        if self.protocol not in ("tcp", "udp"):
            raise ValueError(f"protocol {self.protocol!r} is neither tcp nor udp")
        if self.protocol == "udp" and not self.send:
            raise ValueError("a game over UDP needs bytes to send: no answer to nothing would say nothing")
