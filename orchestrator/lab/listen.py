"""Listening sockets of the lab, and what serves connections on them."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

from orchestrator.lab.errors import LabError

# A hanging handler (an injected fault) may not delay the end of the lab for longer than this, in seconds.
SHUTDOWN_SECONDS = 0.2

ConnectionHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class AddressTakenError(LabError):
    """Somebody else listens there."""


def cannot_listen(address: str, port: int, error: OSError) -> LabError:
    """The sentence for a failed bind."""
    if error.errno == errno.EADDRINUSE:
        return AddressTakenError(
            f"cannot listen on {address}:{port}: it is taken; stop what listens there or give another --block"
        )
    return LabError(f"cannot listen on {address}:{port}: {error.strerror or error}")


def bind_tcp(address: str, port: int) -> socket.socket:
    """A listening socket. It listens at once, because only listen() settles a race between two labs."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(256)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise cannot_listen(address, port, error) from error
    return sock


def bind_udp(address: str, port: int) -> socket.socket:
    """A socket for datagrams. Raises LabError when the address is taken."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((address, port))
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise cannot_listen(address, port, error) from error
    return sock


async def serve_http(app: web.Application, sock: socket.socket, tls: ssl.SSLContext | None = None) -> web.AppRunner:
    """Serves the application on the socket; end it with `runner.cleanup()`, which also closes the socket."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    await web.SockSite(runner, sock, ssl_context=tls).start()
    return runner


class HttpService:
    """An application at an address that can be away for a while, as its daemon is while it restarts."""

    def __init__(
        self, application: Callable[[], web.Application], address: str, port: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self.address = address
        self.port = port
        self._application = application
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._return: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises LabError when the address is taken. Port 0 becomes the port that it got."""
        self._runner = await serve_http(self._application(), bind_tcp(self.address, self.port), self._tls)
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        if self._return is not None:
            self._return.cancel()
            await asyncio.gather(self._return, return_exceptions=True)
        await self._stop()

    async def leave(self, seconds: float) -> None:
        """Refuse and cut connections; after so many seconds it is there again. A second time counts from then on."""
        await self.close()
        self._return = asyncio.create_task(self._start_again(seconds))

    async def _stop(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _start_again(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.start()


class StreamServer:
    """TCP connections, each in a task of its own; `close` ends the listening and every connection."""

    def __init__(self, handler: ConnectionHandler) -> None:
        self._handler = handler
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, address: str, port: int) -> None:
        """Raises LabError when the address is taken; may be called for several addresses."""
        self._servers.append(await asyncio.start_server(self._connected, sock=bind_tcp(address, port)))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._handler(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away or was too slow: its connection ends, nothing else
        finally:
            writer.close()
