"""The worker: takes operations from the queue and carries them out, and sweeps up after others."""

import logging
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from types import FrameType
from uuid import UUID, uuid4

from huey.consumer import Consumer

from orchestrator import runner
from orchestrator.attempt import Attempt
from orchestrator.catalogue import Catalogue, load_catalogue
from orchestrator.database import resolve_url
from orchestrator.errors import HostwrightError, LostLease, StoreUnavailable
from orchestrator.lifecycle import carry_out, give_up
from orchestrator.queue import RUN_OPERATION, make_huey
from orchestrator.secrets import read_secrets
from orchestrator.settings import Settings
from orchestrator.store import leases
from orchestrator.store import sweep as sweeps
from orchestrator.store.connection import Database

log = logging.getLogger(__name__)


_HEALTH_SECONDS = 10
"""How often Huey looks whether its threads are alive, and replaces dead ones."""


class _Consumer(Consumer):  # type: ignore[misc]
    """Huey's consumer without its signal handlers: ours must also reach the running playbooks."""

    def _set_signal_handlers(self) -> None:
        return


class Worker:
    """One worker process: `concurrency` threads that carry out operations, and one that sweeps."""

    def __init__(self, settings: Settings) -> None:
        """Read the catalogue, see that the secrets are there, and make the queue. Raises ConfigurationError."""
        self.settings = settings
        self.catalogue: Catalogue = load_catalogue(settings.catalogue_path)
        read_secrets(settings.secrets_path)
        self.database = Database(resolve_url(settings), size=settings.pool_size)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self._leaving = threading.Event()
        self.huey = make_huey(self.database.connect)
        module, name = RUN_OPERATION.rsplit(".", 1)
        assert module == __name__, "the queue's messages name this module"  # noqa: S101
        self.huey.task(name=name, retries=0)(self.run_operation)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT."""
        self.database.open()
        sweeper = threading.Thread(target=self._sweep_for_ever, name="sweeper", daemon=True)
        sweeper.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._leave)
        consumer = _Consumer(
            self.huey, workers=self.settings.concurrency, periodic=False, worker_type="thread", backoff=1.0,
            initial_delay=0.05, max_delay=0.5, check_worker_health=True,
        )  # fmt: skip
        log.info("worker %s: %d operations at once", self.name, self.settings.concurrency)
        try:
            consumer.start()
            while not self._leaving.wait(_HEALTH_SECONDS):
                consumer.check_worker_health()
            consumer.stop(graceful=True)
        finally:
            sweeper.join(timeout=5)
            with suppress(StoreUnavailable):
                sweeps.worker_gone(self.database, self.name)
            self.database.close()

    def run_operation(self, operation_id: str) -> None:
        """The queue's task: claim an operation and take it to its end."""
        if self._leaving.is_set():
            return  # the message is gone, the sweep of another worker wakes the operation again
        try:
            self._attempt(UUID(operation_id))
        except LostLease as error:
            log.warning("%s", error)
        except HostwrightError as error:
            # The lease runs out and the sweep decides; nothing is swallowed, the row says worker-lost.
            log.error("operation %s: %s", operation_id, error)  # noqa: TRY400  # a sentence, not a trace

    def _attempt(self, operation_id: UUID) -> None:
        claimed_at = time.monotonic()
        operation = leases.claim(
            self.database,
            operation_id,
            worker=self.name,
            lease_seconds=self.settings.lease_seconds,
            deadline_seconds=self.settings.operation_deadline_seconds,
        )
        if operation is None:
            return
        log.info("operation %s: %s, attempt %d", operation.id, operation.kind, operation.attempt)
        if operation.attempt > 1:
            runner.remove_leftovers(operation.id)
        with Attempt(self.database, self.settings, operation, claimed_at, self._leaving) as attempt:
            try:
                carry_out(attempt, self.catalogue)
            except LostLease:
                raise
            except Exception:
                log.exception("operation %s", operation.id)
                give_up(attempt)

    def _sweep_for_ever(self) -> None:
        while not self._leaving.is_set():
            try:
                sweeps.worker_seen(self.database, self.name)
                for operation_id in sweeps.sweep(self.database, requeue_seconds=self.settings.requeue_seconds):
                    log.warning("operation %s: swept", operation_id)
            except StoreUnavailable as error:
                log.warning("sweep: the database is away: %s", error)
            except Exception:
                log.exception("sweep")  # whatever it is, the next one may succeed, and without any nothing is recovered
            self._leaving.wait(self.settings.sweep_seconds)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        log.info("worker %s: leaving", self.name)
        self._leaving.set()
