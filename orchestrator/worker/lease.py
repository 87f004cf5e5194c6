"""The lease of one claimed operation, which says who may write to the operation and until when."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from orchestrator.domain.errors import LostLease, StoreUnavailable
from orchestrator.domain.models import Lease, OperationRow
from orchestrator.domain.updates import Update
from orchestrator.settings import Settings
from orchestrator.store import leases
from orchestrator.store.connection import Database

log = logging.getLogger(__name__)

T = TypeVar("T")

_FENCE_MARGIN = 0.2
"""The share of the lease that is kept for killing the run before another worker may take the operation."""


class HeldLease:
    """The lease of one claimed operation, and the only way to write to it.

    A claim gives a worker two things: a fencing token, which goes up with every claim, and a lease, which ends some
    seconds later on the database's clock. From these follows that at most one worker acts for an operation at a time:

    - Every write carries the token. A write that touches no row means that somebody else has claimed the operation
      since: this worker kills its run and writes nothing more (`LostLease`).
    - A heartbeat prolongs the lease. The sweep of any worker takes over an operation whose lease has ended; until then
      nobody does, whether or not its worker is heard of.
    - So a worker whose heartbeats do not get through must have stopped its run before the lease ends. It cannot ask the
      database for the time then, so it counts on its own monotonic clock, from before it asked for the lease, and gives
      up when four fifths of it are over (self-fencing). What remains is the time to kill the playbook.
    - A worker that stands still cannot do even that. Its tasks look at the same end of the lease in a file of the run
      directory, and end themselves (orchestrator.drivers.lease).

    Two threads meet here. The run's thread puts what happened into a queue and never waits for the database, because a
    slow event handler breaks ansible-runner. One writer thread writes the queue in its order and beats in between. It
    hangs when the database does, so the run's thread watches the end of the lease as well (`watch`).
    """

    def __init__(self, database: Database, settings: Settings, operation: OperationRow, claimed_at: float) -> None:
        """Prepare the lease. It cannot begin before `claimed_at`, which is time.monotonic() from before the claim."""
        self.lease = Lease(operation_id=operation.id, fencing_token=operation.fencing_token)
        self.lost = threading.Event()
        self.cancelled = operation.cancel_requested_at is not None
        """Whether somebody asked to cancel the operation."""
        self.ends_at = claimed_at + settings.lease_seconds * (1 - _FENCE_MARGIN)
        """The time of time.monotonic() until which anything may be done for the operation."""
        self._database = database
        self._settings = settings
        self._leaving = threading.Event()
        self._updates: queue.SimpleQueue[Update | Callable[[], object]] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name=f"writer-{operation.id}", daemon=True)

    def start(self) -> None:
        """Begin to write updates and heartbeats."""
        self._writer.start()

    def stop(self) -> None:
        """Write what was put, then end the writer."""
        self._leaving.set()
        self._updates.put(lambda: None)
        self._writer.join()

    def put(self, update: Update) -> None:
        """Have an update written after those that were put before. Does not wait."""
        self._updates.put(update)

    def when_written(self, call: Callable[[], object]) -> None:
        """Have a function called, in the writer's thread, once all that was put before is in the database."""
        self._updates.put(call)

    def flush(self) -> None:
        """Wait until everything is written. Raises LostLease."""
        written = threading.Event()
        self.when_written(written.set)
        while not written.wait(0.1):
            self._check()
        self._check()

    def persist(self, write: Callable[[], T]) -> T:
        """Do one write, and repeat it while the database is away and the lease holds. Raises LostLease."""
        self.flush()
        while True:
            self._check()
            try:
                return write()
            except StoreUnavailable as error:
                self._database.outage.noticed(error)
                self.lost.wait(0.5)

    def watch(self) -> None:
        """Give the lease up when it ends. The run's thread calls this too: the writer hangs when the database does."""
        if time.monotonic() > self.ends_at and not self.lost.is_set():
            log.error("operation %s: no heartbeat got through before the lease ends: stopping", self.lease.operation_id)
            self.lost.set()

    def _check(self) -> None:
        self.watch()
        if self.lost.is_set():
            raise LostLease(f"operation {self.lease.operation_id}: the lease is lost")

    def _write(self) -> None:
        """Run the writer's thread. When it ends for any reason, nothing more can be written, so the run must end."""
        try:
            self._write_and_beat()
        finally:
            self.lost.set()

    def _write_and_beat(self) -> None:
        pending: list[Update] = []
        waiting: list[Callable[[], object]] = []
        beat_at = time.monotonic()
        while not self.lost.is_set():
            self._collect(pending, waiting, until=beat_at)
            self.watch()
            try:
                asked_at = time.monotonic()
                if pending:
                    leases.record(self._database, self.lease, pending)
                    pending.clear()
                while waiting:
                    waiting.pop(0)()
                if self._leaving.is_set():
                    return
                if asked_at >= beat_at:
                    self._beat(asked_at)
                    beat_at = asked_at + self._settings.heartbeat_seconds
            except LostLease as error:
                log.warning("%s: stopping", error)
                self.lost.set()
            except StoreUnavailable as error:
                self._database.outage.noticed(error)
                beat_at = time.monotonic() + 0.5
                if self._leaving.is_set():
                    return

    def _beat(self, asked_at: float) -> None:
        seconds = self._settings.lease_seconds
        cancelled = leases.heartbeat(self._database, self.lease, lease_seconds=seconds)
        self.cancelled = self.cancelled or cancelled
        self.ends_at = asked_at + seconds * (1 - _FENCE_MARGIN)

    def _collect(self, pending: list[Update], waiting: list[Callable[[], object]], *, until: float) -> None:
        timeout = max(0.0, until - time.monotonic())
        try:
            while True:
                item = self._updates.get(timeout=timeout)
                timeout = 0.0
                waiting.append(item) if callable(item) else pending.append(item)
        except queue.Empty:
            return
