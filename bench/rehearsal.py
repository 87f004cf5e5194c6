"""A database on which verbs of the store are tried: what they do is timed and explained, and then taken back."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.abc import Params

from orchestrator.sql import QUERIES
from orchestrator.store.connection import Connection, Database, wrap_errors

_NAMES = {text: name for name, text in QUERIES.items()}

_EXPLAIN = (
    "load 'auto_explain'; set auto_explain.log_format = 'json'; set auto_explain.log_nested_statements = on; "
    "set client_min_messages = 'log'; set auto_explain.log_min_duration = 0"
)

Plan = dict[str, Any]


class Rehearsal(Database):
    """A database with one connection, which keeps how long each named query took and, when asked, its plans.

    A statement that is run again and again is prepared, as it is in production.
    """

    def __init__(self, url: str) -> None:
        """Connect."""
        super().__init__(url, size=1)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.plans: dict[str, list[Plan]] = defaultdict(list)
        self._running = ""
        self._explaining = False
        self._held = self.connect()
        self._held.add_notice_handler(self._hear)
        self._held.cursor_factory = self._make_cursor_factory()

    def close(self) -> None:
        """Close the connection."""
        self._held.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """The one connection."""
        with wrap_errors():
            yield self._held

    @contextmanager
    def transaction(self, *, timeout: float | None = None) -> Iterator[Connection]:
        """The one connection, with a savepoint for the transaction of a verb."""
        with wrap_errors(), self._held.transaction():
            yield self._held

    @contextmanager
    def attempt(self) -> Iterator[Self]:
        """What is done within it is taken back. Returns with what was measured before forgotten."""
        self.seconds.clear()
        self.plans.clear()
        with self._held.transaction(force_rollback=True):
            yield self

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Keep the plans of what is done within it, and no times, because telling a plan takes time.

        They are the plans that PostgreSQL really uses, with those of triggers and of functions in SQL, as auto_explain
        tells them. The role must be a superuser.
        """
        self._held.execute(_EXPLAIN)
        self._explaining = True
        yield
        self._explaining = False
        self._held.execute("set auto_explain.log_min_duration = -1")

    def _make_cursor_factory(self) -> type[psycopg.Cursor[Any]]:
        rehearsal = self

        class TimedCursor(psycopg.Cursor[Any]):
            def execute(self, query: Any, params: Params | None = None, **options: Any) -> Self:
                with rehearsal._timed(query):
                    return super().execute(query, params, **options)

        return TimedCursor

    @contextmanager
    def _timed(self, query: object) -> Iterator[None]:
        """Keep how long a statement takes, if it is a named query."""
        self._running = _NAMES.get(query.as_string(), "") if isinstance(query, sql.SQL) else ""
        begun = time.perf_counter()
        yield
        if self._running and not self._explaining:
            self.seconds[self._running].append(time.perf_counter() - begun)

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        _, found, plan = (notice.message_primary or "").partition("plan:\n")
        if found and self._running:
            self.plans[self._running].append(json.loads(plan)["Plan"])


def find_scans(plan: Plan) -> Iterator[str]:
    """The tables that a plan reads from end to end."""
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for below in plan.get("Plans", ()):
        yield from find_scans(below)
