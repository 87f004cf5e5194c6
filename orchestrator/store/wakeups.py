"""Wake-ups of the workers: Huey on the same PostgreSQL, and all that is known of it.

A message wakes a worker and decides nothing: the operation's row is the truth, and what waits although its message was
lost is found by a sweep (docs/adr/0008-huey-only-wakes.md). The serializer is JSON: with Huey's default, pickle,
whoever can write the table could run code in a worker.
"""

import json
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
from huey import PostgresHuey
from huey.consumer import Consumer
from huey.registry import Message
from huey.serializer import Serializer

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store.outage import Outage

QUEUE = "hostwright"
CHANNEL = f"huey.q.{QUEUE}"
"""Huey's notification channel of the queue (PostgresStorage.channel, Huey 3.5.4); a test holds both together."""
RUN_OPERATION = "orchestrator.worker.run_operation"
"""The queue's only task, by the name that its messages carry: releases of one database share it."""


_LOGGERS = ("huey.consumer.Worker", "huey.consumer.Scheduler")
"""Huey's loggers of the threads that look into the queue (huey/consumer.py, Huey 3.5.4)."""


class JsonSerializer(Serializer):  # type: ignore[misc]
    """Messages as JSON arrays of Huey's Message fields."""

    def _serialize(self, data: Any) -> bytes:
        return json.dumps(list(data)).encode()

    def _deserialize(self, data: bytes) -> Message:
        return Message(*json.loads(data))


def message(operation_id: UUID) -> bytes:
    """The message that wakes a worker for an operation, ready for the queue's table."""
    task = Message(id=str(uuid4()), name=RUN_OPERATION, retries=0, retry_delay=0, args=[str(operation_id)], kwargs={})
    return json.dumps(list(task)).encode()


def make_huey(connect: Callable[[], Any]) -> PostgresHuey:
    """The queue as a consumer uses it. `connect` opens a connection of its own for each thread."""
    return PostgresHuey(
        QUEUE, connection=connect, create_tables=False, serializer=JsonSerializer(), results=False, utc=True
    )


class _Consumer(Consumer):  # type: ignore[misc]
    """Huey's consumer without its signal handlers: the worker's own must also reach the running playbooks."""

    def _set_signal_handlers(self) -> None:
        return


class _OutageFilter(logging.Filter):
    """Takes what Huey logs of a database that is away as a notice of the outage, not a traceback for each try."""

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self._outage = outage

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (psycopg.Error, StoreUnavailable)):
            return True
        self._outage.noticed(error)
        return False


class Wakeups:
    """Threads that wait for wake-ups and answer each with a call."""

    def __init__(self, connect: Callable[[], Any], answer: Callable[[str], None], threads: int, outage: Outage) -> None:
        """`answer` is called with the id of an operation, in one of the threads; nothing runs until `start`."""
        huey = make_huey(connect)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_OutageFilter(outage))

        def run_operation(operation_id: str) -> None:
            answer(operation_id)

        run_operation.__module__, name = RUN_OPERATION.rsplit(".", 1)
        huey.task(name=name, retries=0)(run_operation)
        self._consumer = _Consumer(
            huey,
            workers=threads,
            periodic=False,
            worker_type="thread",
            backoff=1.0,
            initial_delay=0.05,
            max_delay=0.5,
            check_worker_health=True,
        )

    def start(self) -> None:
        """Begin to wait."""
        self._consumer.start()

    def replace_dead_threads(self) -> None:
        """Start a thread for each that has ended by a defect."""
        self._consumer.check_worker_health()

    def stop(self) -> None:
        """Take no wake-up any more; returns when every answer that was begun has ended."""
        self._consumer.stop(graceful=True)
