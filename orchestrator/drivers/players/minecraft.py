"""A Minecraft status ping, as a player's client sends it: handshake with a host name, status, ping.

mcstatus falls back to port 25565 without a word when an SRV record is missing, and takes no resolver; a check
of the edge must connect to exactly the address it is given, under exactly the name it is given.
"""

from __future__ import annotations

import json
import secrets
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from orchestrator.drivers.httpjson import short

# A favicon of 64 x 64 makes about 10 KiB; nothing a status answer is good for comes near this.
LARGEST_PACKET = 256 * 1024
# What a client sends that does not know the server's version yet.
UNKNOWN_PROTOCOL = -1
STATUS_STATE = 1
TEXT_DEPTH = 16


class PingError(Exception):
    """No valid status answer; the text is one sentence that says where it ended."""


@dataclass(frozen=True)
class Status:
    """What a server says about itself, in printable lines. `latency_ms` is the round trip of the ping packet."""

    version: str
    protocol: int
    players_online: int
    players_max: int
    description: str
    latency_ms: float


def ping(address: str, port: int, *, hostname: str | None = None, timeout: float = 3.0) -> Status:
    """Ask `address:port` for its status under the name `hostname` (by default the address itself).

    `timeout` in seconds bounds the whole exchange. Raises PingError.
    """
    deadline = time.monotonic() + timeout
    where = f"{address}:{port}"
    try:
        with socket.create_connection((address, port), timeout=timeout) as connection:
            return _converse(_Wire(connection, deadline), hostname or address, port)
    except TimeoutError:
        raise PingError(f"{where} did not answer the status ping within {timeout:g} s") from None
    except OSError as error:
        raise PingError(f"{where} does not take the connection: {error.strerror or error}") from None
    except _ProtocolError as error:
        raise PingError(f"{where} {error}") from None


class _ProtocolError(Exception):
    """The rest of a sentence that begins with the server's address."""


class _Wire:
    """Packets over one connection, within one deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def send(self, packet_id: int, body: bytes = b"") -> None:
        self._arm()
        packet = varint(packet_id) + body
        self._connection.sendall(varint(len(packet)) + packet)

    def receive(self, packet_id: int) -> bytes:
        length = self._varint()
        if not 0 < length <= LARGEST_PACKET:
            raise _ProtocolError(f"sent a packet of {length} bytes, which is no status answer")
        found, body = split_varint(self._exactly(length))
        if found != packet_id:
            raise _ProtocolError(f"sent packet {found:#x} instead of {packet_id:#x}")
        return body

    def _varint(self) -> int:
        raw = b""
        while not raw or raw[-1] & 0x80:
            if len(raw) == 5:
                raise _ProtocolError("does not speak the Minecraft protocol")
            raw += self._exactly(1)
        return split_varint(raw)[0]

    def _exactly(self, count: int) -> bytes:
        chunks = bytearray()
        while len(chunks) < count:
            self._arm()
            chunk = self._connection.recv(count - len(chunks))
            if not chunk:
                raise _ProtocolError("closed the connection before its status answer was complete")
            chunks += chunk
        return bytes(chunks)

    def _arm(self) -> None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._connection.settimeout(remaining)


def _converse(wire: _Wire, hostname: str, port: int) -> Status:
    name = hostname.encode("idna" if not hostname.isascii() else "ascii")
    handshake = varint(UNKNOWN_PROTOCOL) + varint(len(name)) + name + struct.pack(">H", port)
    wire.send(0x00, handshake + varint(STATUS_STATE))
    wire.send(0x00)
    answer = _status_object(wire.receive(0x00))
    token = secrets.token_bytes(8)
    started = time.monotonic()
    wire.send(0x01, token)
    if wire.receive(0x01) != token:
        raise _ProtocolError("answered the ping with other bytes than were sent")
    return _status(answer, (time.monotonic() - started) * 1000)


def _status_object(body: bytes) -> dict[str, Any]:
    length, text = split_varint(body)
    try:
        answer = json.loads(text[:length].decode("utf-8"))
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _ProtocolError("sent a status answer that is not a JSON object")
    return answer


def _status(answer: dict[str, Any], latency_ms: float) -> Status:
    version = answer.get("version")
    players = answer.get("players")
    protocol = version.get("protocol") if isinstance(version, dict) else None
    if not isinstance(version, dict) or not isinstance(protocol, int) or isinstance(protocol, bool):
        raise _ProtocolError("sent a status answer without a version")
    counts = players if isinstance(players, dict) else {}
    return Status(
        version=_shown(version.get("name")),
        protocol=protocol,
        players_online=_count(counts.get("online")),
        players_max=_count(counts.get("max")),
        description=_shown(plain_text(answer.get("description"))),
        latency_ms=latency_ms,
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else 0


def _shown(text: object) -> str:
    """One bounded line that a terminal and a log can show."""
    line = text if isinstance(text, str) else ""
    return short("".join(letter if letter.isprintable() else " " for letter in line))


def plain_text(component: object, depth: int = TEXT_DEPTH) -> str:
    """The words of a chat component (a string, a list, or an object with `text` and `extra`)."""
    if isinstance(component, str):
        return component
    if depth == 0:
        return ""
    if isinstance(component, list):
        return "".join(plain_text(item, depth - 1) for item in component)
    if isinstance(component, dict):
        text = component.get("text", component.get("translate", ""))
        return plain_text(text, depth - 1) + plain_text(component.get("extra", []), depth - 1)
    return ""


def varint(value: int) -> bytes:
    """A 32-bit integer in the protocol's variable length, negative ones as two's complement."""
    rest = value & 0xFFFFFFFF
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def split_varint(data: bytes) -> tuple[int, bytes]:
    """The integer at the front of `data`, and what follows it."""
    value = 0
    for index, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            value &= 0xFFFFFFFF
            return (value - (1 << 32) if value >> 31 else value), data[index + 1 :]
    raise _ProtocolError("does not speak the Minecraft protocol")
