"""The part of the Minecraft protocol that a router needs: read a handshake, ping a server."""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

# A handshake carries a host name of at most 255 characters, each of at most 4 bytes, and little else.
MAX_HANDSHAKE = 1100
MAX_STATUS = 256 * 1024
# Protocol number of 1.21.7; servers answer a status request whatever the number is.
PROTOCOL = 772


class ProtocolError(Exception):
    """The peer does not speak the protocol."""


@dataclass(frozen=True)
class Handshake:
    """The host the client asked for, and the bytes as they came, to be passed on."""

    host: str
    raw: bytes

    @property
    def name(self) -> str:
        """The host name, lower case. Mods append NUL and their marker; some clients a last dot."""
        return self.host.partition("\0")[0].rstrip(".").lower()

    @property
    def label(self) -> str:
        """The name's first label."""
        return self.name.partition(".")[0]


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def frame(packet_id: int, body: bytes) -> bytes:
    content = varint(packet_id) + body
    return varint(len(content)) + content


def string(text: str) -> bytes:
    data = text.encode()
    return varint(len(data)) + data


def handshake_frame(host: str, port: int) -> bytes:
    """A handshake that asks for the status."""
    return frame(0, varint(PROTOCOL) + string(host) + port.to_bytes(2, "big") + varint(1))


async def read_frame(reader: asyncio.StreamReader, limit: int) -> tuple[bytes, bytes]:
    """(the frame's bytes as they came, its content); raises ProtocolError when it is longer than `limit`."""
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
        raise ProtocolError(f"packet {packet_id} in place of the handshake")
    _, rest = _take_varint(rest)
    size, rest = _take_varint(rest)
    # After the host: two bytes of port and the next state.
    if len(rest) < size + 3:
        raise ProtocolError("the handshake ends too early")
    try:
        return Handshake(rest[:size].decode(), raw)
    except UnicodeDecodeError as error:
        raise ProtocolError("the host name is not UTF-8") from error


async def ping(address: str, port: int, host: str, *, seconds: float) -> dict[str, Any]:
    """The server's status; raises OSError, TimeoutError or ProtocolError when it gives none in time."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write(handshake_frame(host, port) + frame(0, b""))
            _, content = await read_frame(reader, MAX_STATUS)
        except asyncio.IncompleteReadError as error:
            raise ProtocolError("the connection was closed before the status came") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    return _status(content)


def _status(content: bytes) -> dict[str, Any]:
    packet_id, rest = _take_varint(content)
    size, rest = _take_varint(rest)
    try:
        status = json.loads(rest[:size])
    except ValueError as error:
        raise ProtocolError("the status is not JSON") from error
    if packet_id != 0 or not isinstance(status, dict):
        raise ProtocolError("the answer is not a status")
    return status


def _take_varint(data: bytes) -> tuple[int, bytes]:
    """(number, what follows it)."""
    number = 0
    for index, byte in enumerate(data[:5]):
        number |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return number, data[index + 1 :]
    raise ProtocolError("a number without an end")
