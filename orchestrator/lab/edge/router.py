"""The proxy that players connect to: it routes Minecraft connections by the host name in their handshake."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Protocol

from orchestrator.lab.edge.minecraft import Handshake, ProtocolError, read_handshake
from orchestrator.lab.edge.registrations import Backend
from orchestrator.lab.servers.connections import ConnectionServer

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
CHUNK = 64 * 1024


class Backends(Protocol):
    """The backends that a router knows."""

    def find(self, handshake: Handshake) -> Backend | None:
        """The backend that this client asks for."""

    def forget(self) -> None:
        """Forget every backend, as a restart does."""


class PlayerRouter:
    """Listens on every address at the same port, and pipes each connection to its backend."""

    def __init__(
        self,
        backends: Backends,
        addresses: Sequence[str],
        port: int,
        *,
        handshake_seconds: float = HANDSHAKE_SECONDS,
    ) -> None:
        self._backends = backends
        self._handshake_seconds = handshake_seconds
        self._addresses = addresses
        self._port = port
        self._server = ConnectionServer(self._serve)

    async def start(self) -> None:
        """Raises LabError when an address is taken."""
        for address in self._addresses:
            await self._server.listen(address, self._port)

    async def close(self) -> None:
        await self._server.close()

    async def restart(self) -> None:
        """Do what the restart of a proxy does: end every connection and forget every registration."""
        await self.close()
        self._backends.forget()
        await self.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._handshake_seconds):
                handshake = await read_handshake(reader)
        except ProtocolError as error:
            log.debug("connection closed: %s", error)
            return
        backend = self._backends.find(handshake)
        if backend is None:
            log.debug("connection closed: no backend for %r", handshake.name)
            return
        await pass_on((backend.address, backend.port), handshake.raw, reader, writer)


async def pass_on(
    backend: tuple[str, int], first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Pipe a connection to its backend, beginning with the bytes that were already read from the client.

    Raises OSError or TimeoutError."""
    async with asyncio.timeout(CONNECT_SECONDS):
        upstream_reader, upstream_writer = await asyncio.open_connection(*backend)
    try:
        upstream_writer.write(first)
        await asyncio.gather(_pipe(reader, upstream_writer), _pipe(upstream_reader, writer))
    finally:
        upstream_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end, then tell the other side. A side that fails ends both."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
