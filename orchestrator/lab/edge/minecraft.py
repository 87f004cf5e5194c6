"""The part of the Minecraft protocol that a proxy needs: reading a handshake and pinging a server.

It shares no code with `orchestrator.drivers.players`: the lab tries those drivers, and a mistake in shared code would
hide itself.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

# A handshake carries a host name of at most 255 characters, each of at most 4 bytes, and little else.
MAX_HANDSHAKE = 1100
MAX_STATUS = 256 * 1024
PROTOCOL = 772
"""The protocol number of 1.21.7. Servers answer a status request whatever the number is."""


class ProtocolError(Exception):
    """The peer does not speak the protocol."""


@dataclass(frozen=True)
class Handshake:
    """The host that the client asked for, and the bytes of its handshake, which are passed on as they came."""

    host: str
    raw: bytes

    @property
    def name(self) -> str:
        """The host name in lower case, without what mods (a NUL and a marker) and some clients (a dot) append."""
        return self.host.partition("\0")[0].rstrip(".").lower()

    @property
    def label(self) -> str:
        """The name's first label."""
        return self.name.partition(".")[0]


def encode_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def encode_frame(packet_id: int, body: bytes) -> bytes:
    content = encode_varint(packet_id) + body
    return encode_varint(len(content)) + content


def encode_string(text: str) -> bytes:
    data = text.encode()
    return encode_varint(len(data)) + data


def encode_handshake(host: str, port: int) -> bytes:
    """The frame of a handshake that asks for the status."""
    return encode_frame(0, encode_varint(PROTOCOL) + encode_string(host) + port.to_bytes(2, "big") + encode_varint(1))


async def read_frame(reader: asyncio.StreamReader, limit: int) -> tuple[bytes, bytes]:
    """A frame's bytes as they came, and its content. Raises ProtocolError when it is longer than `limit`."""
    head = b""
    while not head or head[-1] & 0x80:
        if len(head) == 3:
            raise ProtocolError("the frame's length is longer than three bytes")
        head += await reader.readexactly(1)
    size, _ = _take_varint(head)
    if not 0 < size <= limit:
        raise ProtocolError(f"a frame of {size} bytes, expected 1 to {limit}")
    content = await reader.readexactly(size)
    return head + content, content


async def read_handshake(reader: asyncio.StreamReader) -> Handshake:
    """Raises ProtocolError for anything that is no handshake."""
    raw, content = await read_frame(reader, MAX_HANDSHAKE)
    packet_id, rest = _take_varint(content)
    if packet_id != 0:
        raise ProtocolError(f"packet {packet_id} instead of the handshake")
    _, rest = _take_varint(rest)
    size, rest = _take_varint(rest)
    # Two bytes of port and the next state follow the host.
    if len(rest) < size + 3:
        raise ProtocolError("the handshake ends too early")
    try:
        return Handshake(rest[:size].decode(), raw)
    except UnicodeDecodeError as error:
        raise ProtocolError("the host name is not UTF-8") from error


async def ping(address: str, port: int, host: str, *, seconds: float) -> dict[str, Any]:
    """The server's status. Raises OSError, TimeoutError or ProtocolError when it gives none in time."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write(encode_handshake(host, port) + encode_frame(0, b""))
            _, content = await read_frame(reader, MAX_STATUS)
        except asyncio.IncompleteReadError as error:
            raise ProtocolError("the connection was closed before the status came") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    return _read_status(content)


def _read_status(content: bytes) -> dict[str, Any]:
    packet_id, rest = _take_varint(content)
    size, rest = _take_varint(rest)
    try:
        status = json.loads(rest[:size])
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the status is not JSON") from error
    if packet_id != 0 or not isinstance(status, dict):
        raise ProtocolError("the answer is not a status")
    return status


def _take_varint(data: bytes) -> tuple[int, bytes]:
    """A number, and the bytes that follow it."""
    number = 0
    for index, byte in enumerate(data[:5]):
        number |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return number, data[index + 1 :]
    raise ProtocolError("a number without an end")
