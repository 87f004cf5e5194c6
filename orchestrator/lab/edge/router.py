"""The proxy players connect to: routes Minecraft connections by the host name in their handshake."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Protocol

from orchestrator.lab.edge.minecraft import Handshake, ProtocolError, read_handshake
from orchestrator.lab.edge.registrations import Backend
from orchestrator.lab.listen import StreamServer

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
CHUNK = 64 * 1024


class Router(Protocol):
    """Whom the players go to."""

    def find(self, handshake: Handshake) -> Backend | None:
        """The backend that this client asks for."""

    def forget(self) -> None:
        """What a restart does."""


class Edge:
    """Listens on every address at the same port and pipes each connection to its backend."""

    def __init__(
        self,
        router: Router,
        addresses: Sequence[str],
        port: int,
        *,
        handshake_seconds: float = HANDSHAKE_SECONDS,
    ) -> None:
        self._router = router
        self._handshake_seconds = handshake_seconds
        self._addresses = addresses
        self._port = port
        self._server = StreamServer(self._serve)

    async def start(self) -> None:
        """Raises LabError when an address is taken."""
        for address in self._addresses:
            await self._server.listen(address, self._port)

    async def close(self) -> None:
        await self._server.close()

    async def restart(self) -> None:
        """What happens when a proxy restarts: every connection ends, every registration is forgotten."""
        await self.close()
        self._router.forget()
        await self.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._handshake_seconds):
                handshake = await read_handshake(reader)
        except ProtocolError as error:
            log.debug("connection closed: %s", error)
            return
        backend = self._router.find(handshake)
        if backend is None:
            log.debug("connection closed: no backend for %r", handshake.name)
            return
        await pass_on((backend.address, backend.port), handshake.raw, reader, writer)


async def pass_on(
    target: tuple[str, int], said: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Pipe a connection to its backend, beginning with what the client said so far. Raises OSError, TimeoutError."""
    async with asyncio.timeout(CONNECT_SECONDS):
        upstream_reader, upstream_writer = await asyncio.open_connection(*target)
    try:
        upstream_writer.write(said)
        await asyncio.gather(_pipe(reader, upstream_writer), _pipe(upstream_reader, writer))
    finally:
        upstream_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies until the end, then tells the other side; a side that fails ends both."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
