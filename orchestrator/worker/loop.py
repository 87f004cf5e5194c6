"""The worker process, which carries out the operations whose turn it is, and performs its duties."""

import logging
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from types import FrameType
from uuid import UUID, uuid4

from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import (
    HostwrightError,
    LostLease,
    StoreUnavailable,
    WorkerUnfit,
)
from orchestrator.domain.models import Claim
from orchestrator.drivers.secrets import read_secrets
from orchestrator.play import run_directory
from orchestrator.play.inventory import load_catalogue, proxmox_node
from orchestrator.play.selftest import self_test
from orchestrator.settings import Settings
from orchestrator.store import leases, orders, sweep
from orchestrator.store.connection import Database
from orchestrator.store.embedded import resolve_url
from orchestrator.store.leases import Claimant
from orchestrator.store.wakeups import Wakeups
from orchestrator.worker.attempt import Attempt
from orchestrator.worker.carry import carry_out, put_back
from orchestrator.worker.duties import all_duties
from orchestrator.worker.duties.duty import perform_until
from orchestrator.worker.ends import log_end
from orchestrator.worker.fitness import Fitness

log = logging.getLogger(__name__)


_SIGNAL_SECONDS = 0.1
"""The seconds between two looks for a signal."""
_HEALTH_SECONDS = 10
"""The seconds between two looks whether the threads are alive."""


class Worker:
    """One worker process. Some of its threads carry out operations, and one performs the duties."""

    def __init__(self, settings: Settings) -> None:
        """Read catalogue and secrets, and make the queue. Raises ConfigurationError."""
        self.settings = settings
        self.catalogue: Catalogue = load_catalogue(settings.catalogue_path)
        read_secrets(settings.secrets_path)
        self.database = Database(resolve_url(settings), size=settings.pool_size)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        limited = settings.node_concurrency is not None
        self._claimant = Claimant(
            worker=self.name,
            lease_seconds=settings.lease_seconds,
            deadline_seconds=settings.operation_deadline_seconds,
            concurrency=settings.concurrency,
            node=proxmox_node(settings) if limited else None,
            node_concurrency=settings.node_concurrency,
        )
        self.fitness = Fitness(lambda: self_test(settings))
        self.duties = all_duties(
            self.database, settings, self.catalogue, self.name, self._claimant.passed_over, self.fitness
        )
        self._signals = 0
        self._leaving = threading.Event()
        self._handing_over = threading.Event()
        threads = settings.threads or settings.concurrency
        self._wakeups = Wakeups(self.database.connect, self.run_operation, threads, self.database.outage)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT.

        Then let the running operations end for as long as the settings allow, and hand over the rest. Raises
        WorkerUnfit at once when this worker could carry nothing out.
        """
        self_test(self.settings)
        self.database.open()
        # What was published is recorded before anything is taken back by its record.
        self.duties[0].perform_once(self.database.outage)
        duties = (self._leaving, self.duties, self.database.outage)
        sweeper = threading.Thread(target=perform_until, args=duties, name="sweeper", daemon=True)
        sweeper.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._leave)
        threading.Thread(target=self._heed_signals, name="signals", daemon=True).start()
        log.info("worker %s: %d operations at once", self.name, self.settings.threads or self.settings.concurrency)
        try:
            self._wakeups.start()
            while not self._leaving.wait(_HEALTH_SECONDS):
                self._wakeups.replace_dead_threads()
            self._drain()
        finally:
            sweeper.join(timeout=5)
            with suppress(StoreUnavailable):
                sweep.worker_gone(self.database, self.name)
            self.database.close()

    def _drain(self) -> None:
        patience = threading.Timer(self.settings.drain_seconds, self._handing_over.set)
        patience.daemon = True
        patience.start()
        self._wakeups.stop()
        patience.cancel()

    def run_operation(self, operation_id: str) -> None:
        """Carry out waiting operations, one after the other, as long as there are some and the limits allow it.

        This is called for every message of the queue. The message only wakes the worker: the rows say whose turn it is.
        The id in the message is there for people who read the queue's table.
        """
        try:
            if not self.fitness.is_fit:
                orders.pass_on(self.database, UUID(operation_id))
                self.fitness.wait(self._leaving)
            while not self._leaving.is_set() and self.fitness.is_fit:
                claimed_at = time.monotonic()
                claim = leases.claim_next(self.database, self._claimant)
                if claim is None:
                    return
                self._carry_out(claim, claimed_at)
            orders.pass_on(self.database, UUID(operation_id))
        except StoreUnavailable as error:
            self.database.outage.noticed(error)  # a sweep wakes workers for what waits

    def _carry_out(self, claim: Claim, claimed_at: float) -> None:
        operation = claim.operation
        log.info("operation %s: %s, attempt %d", operation.id, operation.kind, operation.attempt)
        try:
            if operation.attempt > 1:
                run_directory.remove_leftovers(operation.id, operation.fencing_token)
            with Attempt(self.database, self.settings, claim, claimed_at, self._handing_over) as attempt:
                try:
                    carry_out(attempt, self.catalogue)
                except WorkerUnfit as fault:
                    self.fitness.doubt(fault)  # first, or another thread takes the operation again
                    put_back(attempt, fault)
            log_end(self.database, operation.id)
        except LostLease as error:
            log.warning("%s", error)
        except HostwrightError as error:
            # Nothing is swallowed: the lease runs out, and a sweep resumes the operation or fails it as worker-lost.
            log.error("operation %s: %s", operation.id, error)  # noqa: TRY400  # a sentence, not a trace
        except Exception:
            # One operation that meets a defect again and again must not keep this thread from the others.
            log.exception("operation %s", operation.id)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        """Count a signal. It must not set an event, whose lock the interrupted thread may hold."""
        self._signals += 1

    def _heed_signals(self) -> None:
        """Act on signals: after the first one running operations may end, after the second they are handed over."""
        while not self._handing_over.wait(_SIGNAL_SECONDS):
            if self._signals > 0 and not self._leaving.is_set():
                log.info("worker %s: leaving", self.name)
                self._leaving.set()
            if self._signals > 1:
                self._handing_over.set()
