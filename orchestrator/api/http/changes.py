"""Wake-ups: of requests that wait for an operation to change, and of workers when there is something in the queue."""

import asyncio
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from uuid import UUID

from orchestrator.api.http.listening import Listener
from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store.connection import OPERATION_CHANNEL, Database
from orchestrator.store.orders import wake_workers


class Changes:
    """Wakes the requests that wait for an operation. The process has one LISTEN connection for all of them."""

    def __init__(self, database: Database, on_leave: Callable[[], object]) -> None:
        """Nothing runs before `start`. `on_leave` is called on the event loop when the process is told to end."""
        self._database = database
        self._on_leave = on_leave
        self._waiting: dict[str, set[Callable[[], object]]] = defaultdict(set)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: Listener | None = None
        self.leaving = False
        """Whether the process was told to end. Then no request waits any longer, because the process waits for them."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen, in a thread of its own. SIGTERM and SIGINT wake every request that waits."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._release_before(number, loop)
        self._loop = loop
        self._listener = Listener(self._database, OPERATION_CHANNEL, self.tell)
        self._listener.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.stop()

    @contextmanager
    def of(self, operation_id: UUID, token_id: UUID | None) -> Iterator[asyncio.Event]:
        """An event that is set when the operation changes from now on, or the token of who waits is revoked."""
        event = asyncio.Event()
        if self.leaving:
            event.set()
        with self.calling(event.set, operation_id, token_id):
            yield event

    @contextmanager
    def calling(self, wake: Callable[[], object], *ids: UUID | None) -> Iterator[None]:
        """Have `wake` called on the event loop when one of these operations or tokens changes, or may have changed."""
        keys = [str(each) for each in ids]
        for key in keys:
            self._waiting[key].add(wake)
        try:
            yield
        finally:
            for key in keys:
                self._waiting[key].discard(wake)
                if not self._waiting[key]:
                    del self._waiting[key]

    def tell(self, key: str | None) -> None:
        """Wake those who wait for this operation or with this token, or everybody. May be called in any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell, key)

    def _release_before(self, number: signal.Signals, loop: asyncio.AbstractEventLoop) -> None:
        """On this signal wake every request that waits, and then call the server's own handler."""
        server = signal.getsignal(number)

        def leave(received: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._release)
            if callable(server):
                server(received, frame)

        if callable(server):
            signal.signal(number, leave)

    def _release(self) -> None:
        self.leaving = True
        self._on_leave()
        self._tell(None)

    def _tell(self, key: str | None) -> None:
        """Wake those who wait under a key, or everybody when notifications may have been missed."""
        for waiting in [key] if key is not None else list(self._waiting):
            for wake in self._waiting.get(waiting, ()):
                wake()


_WAKE_SECONDS = 0.02
"""The shortest time between two notifications. The first order of many is told at once, the others together."""


class Waker:
    """Wakes the workers after orders, once for many orders.

    The notification is not part of the order's transaction, because PostgreSQL serialises commits that notify. A lost
    one costs a second at most, because a worker looks into the queue each second anyway.
    """

    def __init__(self, database: Database) -> None:
        """Nothing runs before `start`."""
        self._database = database
        self._ordered = threading.Event()
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="waker", daemon=True)

    def start(self) -> None:
        """Start the thread that notifies."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._leaving = True
        self._ordered.set()
        self._thread.join()

    def wake(self) -> None:
        """Wake the workers soon, because there is something in the queue. Does not block."""
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
            time.sleep(_WAKE_SECONDS)
