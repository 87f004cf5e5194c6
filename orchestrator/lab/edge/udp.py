"""A forwarder of datagrams: each client gets a socket of its own towards the backend, until it falls silent."""

import asyncio
from collections.abc import Callable
from typing import cast

from orchestrator.lab.servers.sockets import bind_udp

Address = tuple[str, int]
SESSION_SECONDS = 3.0
"""Traefik's default for an entry point's udp.timeout."""
FIRST_DATAGRAMS = 16
"""How many datagrams of a client are kept while its socket is being made."""


class UdpForwarder(asyncio.DatagramProtocol):
    """Listens at one address. `find_backend` says for each datagram where it goes; None is nowhere."""

    def __init__(self, find_backend: Callable[[], Address | None]) -> None:
        self._find_backend = find_backend
        self._sessions: dict[Address, _Session] = {}
        self._transport: asyncio.DatagramTransport | None = None

    async def listen(self, address: str, port: int) -> None:
        """Raises LabError when the address is taken."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=bind_udp(address, port))

    def close(self) -> None:
        for session in list(self._sessions.values()):
            session.end()
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        backend = self._find_backend()
        session = self._sessions.get(addr)
        if session is not None and session.backend != backend:
            session.end()
            session = None
        if backend is None:
            return
        if session is None:
            session = self._sessions[addr] = _Session(backend, lambda answer: self._answer(answer, addr))
            session.ended = lambda: self._forget(addr, session)
            session.open()
        session.send(data)

    def _answer(self, data: bytes, client: Address) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, client)

    def _forget(self, client: Address, session: "_Session") -> None:
        if self._sessions.get(client) is session:
            del self._sessions[client]


class _Session(asyncio.DatagramProtocol):
    """One client's way to the backend and back. It ends after a silence."""

    def __init__(self, backend: Address, answer: Callable[[bytes], None]) -> None:
        self.backend = backend
        self.ended: Callable[[], None] = lambda: None
        self._answer = answer
        self._waiting: list[bytes] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._opening: asyncio.Task[object] | None = None
        self._end_timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._opening = loop.create_task(loop.create_datagram_endpoint(lambda: self, remote_addr=self.backend))
        self._extend()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        for data in self._waiting:
            self._transport.sendto(data)
        self._waiting.clear()

    def send(self, data: bytes) -> None:
        self._extend()
        if self._transport is not None:
            self._transport.sendto(data)
        elif len(self._waiting) < FIRST_DATAGRAMS:
            self._waiting.append(data)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._extend()
        self._answer(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens at the backend. The client hears nothing, as through any router of datagrams."""

    def end(self) -> None:
        if self._end_timer is not None:
            self._end_timer.cancel()
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.close()
        self.ended()

    def _extend(self) -> None:
        """Let the session live on, because one of its ends was heard."""
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._end_timer = asyncio.get_running_loop().call_later(SESSION_SECONDS, self.end)
