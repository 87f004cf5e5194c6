"""Telling requests that wait about changes: one LISTEN connection a process, and one thread that wakes workers."""

import asyncio
import signal
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from uuid import UUID

from orchestrator.api.http.listening import Listener
from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store.connection import OPERATION_CHANNEL, Database
from orchestrator.store.orders import wake_workers


class Changes:
    """Wakes whoever waits for an operation."""

    def __init__(self, database: Database) -> None:
        """Nothing runs until `start`."""
        self._database = database
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._listener: Listener | None = None
        self.over = False
        """Nobody may wait any longer: the process is told to leave, and ends when its last request is answered."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen, in a thread of its own; from the process's SIGTERM on nobody waits."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._release_before(number, loop)
        self._listener = Listener(
            self._database, OPERATION_CHANNEL, lambda key: loop.call_soon_threadsafe(self._tell, key)
        )
        self._listener.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.stop()

    @asynccontextmanager
    async def of(self, operation_id: UUID) -> AsyncIterator[asyncio.Event]:
        """An event that is set when the operation changes, from now on."""
        event = asyncio.Event()
        if self.over:
            event.set()
        key = str(operation_id)
        self._waiting[key].add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    def _release_before(self, number: signal.Signals, loop: asyncio.AbstractEventLoop) -> None:
        """Answer everybody who waits, and then do what the server does on this signal: wait for its requests."""
        server = signal.getsignal(number)

        def leave(received: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._release)
            if callable(server):
                server(received, frame)

        if callable(server):
            signal.signal(number, leave)

    def _release(self) -> None:
        self.over = True
        self._tell(None)

    def _tell(self, key: str | None) -> None:
        """Wake the waiters of one operation, or all of them after a gap."""
        for waiting in [key] if key is not None else list(self._waiting):
            for event in self._waiting.get(waiting, ()):
                event.set()


class Waker:
    """Wakes the workers after orders, many orders at a time.

    The notification is not part of the order's transaction: PostgreSQL serialises commits that notify, and a lost one
    costs a second at most, because a worker looks into the queue each second anyway.
    """

    def __init__(self, database: Database) -> None:
        """Nothing runs until `start`."""
        self._database = database
        self._ordered = threading.Event()
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="waker", daemon=True)

    def start(self) -> None:
        """Begin to wait for orders."""
        self._thread.start()

    def stop(self) -> None:
        """Stop."""
        self._leaving = True
        self._ordered.set()
        self._thread.join()

    def wake(self) -> None:
        """There is something in the queue."""
        self._ordered.set()

    def _run(self) -> None:
        while True:
            self._ordered.wait()
            self._ordered.clear()
            if self._leaving:
                return
            try:
                wake_workers(self._database)
            except StoreUnavailable as error:
                self._database.outage.noticed(error)
