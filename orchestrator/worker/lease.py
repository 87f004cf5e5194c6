"""Keeps an attempt's lease: one writer thread beats, and writes what happened, in order.

If no heartbeat gets through before the lease ends, the lease counts as lost here first (self-fencing), so nobody can
meet a live run when recovering the operation.
"""

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
"""The share of the lease that is left for killing the run before somebody else may take the operation."""


class Keeper:
    """The lease of one claimed operation, and the only way to write to it."""

    def __init__(self, database: Database, settings: Settings, operation: OperationRow, claimed_at: float) -> None:
        """`claimed_at` is time.monotonic() from before the claim: the lease cannot have begun earlier."""
        self.lease = Lease(operation_id=operation.id, fencing_token=operation.fencing_token)
        self.lost = threading.Event()
        self.cancelled = operation.cancel_requested_at is not None
        """Whether somebody wants the operation cancelled."""
        self.ends_at = claimed_at + settings.lease_seconds * (1 - _FENCE_MARGIN)
        """Until when anything may be done, on time.monotonic()."""
        self._database = database
        self._settings = settings
        self._leaving = threading.Event()
        self._updates: queue.SimpleQueue[Update | threading.Event] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name=f"writer-{operation.id}", daemon=True)

    def start(self) -> None:
        """Begin to write and to beat."""
        self._writer.start()

    def stop(self) -> None:
        """Write what there is, then end."""
        self._leaving.set()
        self._updates.put(threading.Event())
        self._writer.join()

    def put(self, update: Update) -> None:
        """Have something written, in its turn; does not wait."""
        self._updates.put(update)

    def flush(self) -> None:
        """Wait until everything is written. Raises LostLease."""
        written = threading.Event()
        self._updates.put(written)
        while not written.wait(0.1):
            self._check()
        self._check()

    def persist(self, write: Callable[[], T]) -> T:
        """Do one write, again while the database is away and the lease holds. Raises LostLease."""
        self.flush()
        while True:
            self._check()
            try:
                return write()
            except StoreUnavailable as error:
                log.warning("operation %s: the database is away: %s", self.lease.operation_id, error)
                self.lost.wait(0.5)

    def watch(self) -> None:
        """Give the lease up when it ends. The run asks for it too: the writer hangs when the database does."""
        if time.monotonic() > self.ends_at and not self.lost.is_set():
            log.error("operation %s: no heartbeat got through before the lease ends: stopping", self.lease.operation_id)
            self.lost.set()

    def _check(self) -> None:
        self.watch()
        if self.lost.is_set():
            raise LostLease(f"operation {self.lease.operation_id}: the lease is lost")

    def _write(self) -> None:
        """The writer thread. Whatever ends it, nothing can be written any more, so the run ends too."""
        try:
            self._write_and_beat()
        finally:
            self.lost.set()

    def _write_and_beat(self) -> None:
        """Write what happened, and beat in between."""
        pending: list[Update] = []
        waiting: list[threading.Event] = []
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
                    waiting.pop().set()
                if self._leaving.is_set():
                    return
                if asked_at >= beat_at:
                    self._beat(asked_at)
                    beat_at = asked_at + self._settings.heartbeat_seconds
            except LostLease as error:
                log.warning("%s: stopping", error)
                self.lost.set()
            except StoreUnavailable as error:
                log.warning("operation %s: not written yet, the database is away: %s", self.lease.operation_id, error)
                beat_at = time.monotonic() + 0.5
                if self._leaving.is_set():
                    return

    def _beat(self, asked_at: float) -> None:
        seconds = self._settings.lease_seconds
        cancelled = leases.heartbeat(self._database, self.lease, lease_seconds=seconds)
        self.cancelled = self.cancelled or cancelled
        self.ends_at = asked_at + seconds * (1 - _FENCE_MARGIN)

    def _collect(self, pending: list[Update], waiting: list[threading.Event], *, until: float) -> None:
        timeout = max(0.0, until - time.monotonic())
        try:
            while True:
                item = self._updates.get(timeout=timeout)
                timeout = 0.0
                waiting.append(item) if isinstance(item, threading.Event) else pending.append(item)
        except queue.Empty:
            return
