"""The phase that every live operation is in, read from the database as fast as the rows change.

An attack uses it to choose its moment. How the attack ended is judged without the database.
"""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import psycopg

from tests.chaos.customer import MissedError

POLL_SECONDS = 0.01
_QUERY = (
    "select id::text, instance_id::text, kind::text, status::text, phase::text, attempt, worker, vmid "
    "from operation where status in ('queued', 'running', 'cleaning')"
)


@dataclass(frozen=True)
class Place:
    """The phase and the worker of an operation."""

    operation: str
    instance: str
    kind: str
    status: str
    phase: str | None
    attempt: int
    worker: str | None
    vmid: int | None


class Phases:
    """A thread that reads as long as somebody waits, used as a context manager."""

    def __init__(self, url: str) -> None:
        """Nothing is read yet."""
        self._url = url
        self._places: dict[str, Place] = {}
        self._read_at = 0.0
        self._waiting = 0
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._read_for_ever, name="phases", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()

    def all(self) -> list[Place]:
        """Every live operation, as it was read a moment ago."""
        self._next_reading(2.0)
        return list(self._places.values())

    def now(self, operation: str) -> Place | None:
        """Where an operation is; None when it is final or the database is away."""
        self._next_reading(2.0)
        return self._places.get(operation)

    def wait(self, operation: str, phase: str, *, seconds: float, status: str = "running") -> Place:
        """Wait until an operation is in this phase. Raises MissedError when it has ended before, or after `seconds`."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._waiting += 1
            try:
                began = time.monotonic()
                while True:
                    place = self._places.get(operation)
                    fresh = self._read_at > began
                    if fresh and place is not None and (place.phase, place.status) == (phase, status):
                        return place
                    if (fresh and place is None) or time.monotonic() > deadline:
                        raise MissedError(f"operation {operation} never was {status} in {phase}, but {place}")
                    self._changed.wait(0.5)
            finally:
                self._waiting -= 1

    def _next_reading(self, seconds: float) -> None:
        began = time.monotonic()
        with self._changed:
            self._waiting += 1
            while self._read_at < began and time.monotonic() < began + seconds:
                self._changed.wait(0.1)
            self._waiting -= 1

    def _read_for_ever(self) -> None:
        while not self._ending.is_set():
            with suppress(psycopg.Error), psycopg.connect(self._url, autocommit=True, connect_timeout=2) as connection:
                while not self._ending.wait(POLL_SECONDS):
                    if self._waiting:
                        self._keep(connection)

    def _keep(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        asked_at = time.monotonic()
        rows = connection.execute(_QUERY).fetchall()
        with self._changed:
            self._places = {str(row[0]): Place(*row) for row in rows}  # type: ignore[arg-type]
            self._read_at = asked_at
            self._changed.notify_all()
