"""A stand-in for Traefik: it reads its file provider's directory, and really passes TCP and UDP on.

Like the original it takes the files as one configuration: while one of them is wrong, nothing of a change counts.
Unlike the original it looks at the files again and again instead of being told of changes, and it opens an entry point
when a router first names it, because a process may not have a socket for every VMID.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.lab.edge.router import pass_on
from orchestrator.lab.edge.traefik_files import ConfigurationError, Routes, fingerprint, read_files
from orchestrator.lab.edge.udp import UdpForwarder
from orchestrator.lab.errors import LabError
from orchestrator.lab.servers.connections import ConnectionServer

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05


class Traefik:
    """Entry points at every address, each with the route that the files give it."""

    def __init__(self, directory: Path, addresses: Sequence[str]) -> None:
        self._directory = directory
        self._addresses = addresses
        self._routes: Routes = {}
        self._error: str | None = None
        self._seen: object = None
        self._opened: set[str] = set()
        self._closed: dict[str, str] = {}
        self._listening = contextlib.AsyncExitStack()
        self._lock = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        await self.reload()
        self._looking = asyncio.create_task(self._keep_reloading())

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._listening.aclose()

    async def reload(self) -> None:
        """Take the files over if they have changed; returns when players can come."""
        async with self._lock:
            await self._take_over()

    async def _take_over(self) -> None:
        try:
            self._read_changes()
        except (ConfigurationError, OSError) as error:
            if str(error) != self._error:
                log.error("the files are not taken over: %s", error)  # noqa: TRY400 - the sentence says it all
            self._error = str(error)
        self._closed = {name: error for name, error in self._closed.items() if name in self._routes}
        for entry_point, route in self._routes.items():
            if entry_point not in self._opened:
                await self._open(entry_point, route.protocol)

    def _read_changes(self) -> None:
        """Read changed files, and all again while they cannot be read. Raises ConfigurationError, OSError."""
        before, self._seen = self._seen, None
        seen = fingerprint(self._directory)
        if seen != before:
            try:
                self._routes, self._error = read_files(self._directory), None
            except ConfigurationError:
                self._seen = seen
                raise
        self._seen = seen

    def inventory(self) -> dict[str, list[dict[str, Any]]]:
        """The routes in force, and what is wrong with the files."""
        wrong = [] if self._error is None else [self._error]
        errors = [{"message": error} for error in (*wrong, *self._closed.values())]
        routes = [asdict(route) for _, route in sorted(self._routes.items())]
        return {"entryPoints": routes, "traefikErrors": errors}

    async def _keep_reloading(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.reload()

    async def _open(self, entry_point: str, protocol: str) -> None:
        """Listen for an entry point at every address, or at none while one of them is taken."""
        try:
            async with contextlib.AsyncExitStack() as listening:
                await self._listen(listening, entry_point, protocol, int(entry_point.rpartition("-")[2]))
                self._listening.push_async_callback(listening.pop_all().aclose)
        except LabError as error:
            if self._closed.get(entry_point) != str(error):
                log.error("entry point %s is closed: %s", entry_point, error)  # noqa: TRY400 - as above
            self._closed[entry_point] = str(error)
        else:
            self._opened.add(entry_point)
            self._closed.pop(entry_point, None)

    async def _listen(self, listening: contextlib.AsyncExitStack, entry_point: str, protocol: str, port: int) -> None:
        server = ConnectionServer(lambda reader, writer: self._serve(entry_point, reader, writer))
        listening.push_async_callback(server.close)
        for address in self._addresses:
            if protocol == "tcp":
                await server.listen(address, port)
            else:
                forwarder = UdpForwarder(lambda: self._find_backend(entry_point))
                listening.callback(forwarder.close)
                await forwarder.listen(address, port)

    def _find_backend(self, entry_point: str) -> tuple[str, int] | None:
        route = self._routes.get(entry_point)
        return None if route is None else (route.address, route.port)

    async def _serve(self, entry_point: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend = self._find_backend(entry_point)
        if backend is not None:
            await pass_on(backend, b"", reader, writer)
