"""The API wakes the workers at once after an order, and once for many that come together."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from orchestrator.api.http.changes import Waker
from orchestrator.store.connection import Database


class Counting:
    """A database that counts what is executed."""

    def __init__(self) -> None:
        self.executed = 0

    @contextmanager
    def connection(self) -> Iterator[Any]:
        yield SimpleNamespace(execute=self.execute)

    def execute(self, *given: object) -> Any:
        self.executed += 1
        return SimpleNamespace(rowcount=1)


def test_notifies_once_for_many_orders() -> None:
    database = Counting()
    waker = Waker(cast("Database", database))
    waker.start()
    began = time.monotonic()
    while (passed := time.monotonic() - began) < 0.2:
        waker.wake()
        time.sleep(0.0005)
    waker.stop()
    assert 1 <= database.executed <= passed / 0.02 + 1


def test_notifies_at_once() -> None:
    database = Counting()
    waker = Waker(cast("Database", database))
    waker.start()
    waker.wake()
    deadline = time.monotonic() + 5
    while not database.executed and time.monotonic() < deadline:
        time.sleep(0.001)
    waker.stop()
    assert database.executed == 1
