"""A server of TCP connections."""

import asyncio
from collections.abc import Awaitable, Callable

from orchestrator.lab.servers.sockets import bind_tcp

ConnectionHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ConnectionServer:
    """Serves each connection in a task of its own. `close` stops listening and ends every connection."""

    def __init__(self, handler: ConnectionHandler) -> None:
        self._handler = handler
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, address: str, port: int) -> None:
        """Listen at one more address. Raises LabError when it is taken."""
        self._servers.append(await asyncio.start_server(self._start_serving, sock=bind_tcp(address, port)))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_serving(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._handler(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away or was too slow: only its own connection ends
        finally:
            writer.close()
