"""Compares POST and GET of the API with those of the bare app, in turn, on one database and by one load generator."""

import json
import statistics
import sys
from collections.abc import Callable
from itertools import count, cycle
from uuid import uuid4

import httpx

from bench import load
from bench.server import start_server
from orchestrator.processes import stop
from orchestrator.store import accounts
from orchestrator.store.connection import Database

ROUNDS = 5
SECONDS = 3.0
CUSTOMERS = 1000
"""So many customers that each gets about as many orders as a default quota allows. Real customers have few servers."""


def measure(database_url: str) -> dict[str, float]:
    """Return the requests a second of the API divided by those of the bare app, as medians of the rounds.

    Both are sent the same orders, so they write as many rows, for the same customers.
    """
    database = Database(database_url, size=4)
    database.open()
    for number in range(CUSTOMERS):
        _add_customer(database, f"bench-{number}")
    token = accounts.create_token(database, name="bench", customer_id=None)
    database.close()
    ours = start_server([sys.executable, "-m", "orchestrator.cli", "serve"], database_url, "/healthz")
    bare = start_server([sys.executable, "-m", "bench.bare_app"], database_url, "/none")
    try:
        # GET comes first, while the queue is short, because its length is counted for queuePosition.
        return {
            "get_vs_bare": _measure_ratio(
                "GET",
                (ours[1], _make_gets(ours[1], "/api/instances", token), b"200"),
                (bare[1], _make_gets(bare[1], "/bare", token), b"200"),
            ),
            "post_vs_floor": _measure_ratio(
                "POST",
                (ours[1], _make_orders("/api/instances", token), b"202"),
                (bare[1], _make_orders("/bare", token), b"202"),
            ),
        }
    finally:
        for process, _ in (ours, bare):
            stop(process, 10)


Side = tuple[int, Callable[[], bytes], bytes]


def _measure_ratio(name: str, ours: Side, bare: Side) -> float:
    ratios = []
    for number in range(ROUNDS + 1):
        rates = []
        for port, make, expect in (ours, bare):
            done = load.run(port, make, expect=expect, seconds=SECONDS if number else 1.0)
            assert done.wrong == 0, f"{name}: {done.wrong} answers were not {expect.decode()}"
            rates.append(done.per_second)
        if number:  # the first round warms up
            ratios.append(rates[0] / rates[1])
            print(f"  {name}: {rates[0]:.0f}/s against {rates[1]:.0f}/s bare, ratio {ratios[-1]:.2f}")
    return statistics.median(ratios)


def _make_body(customer: int) -> bytes:
    order = {"ctype": "game", "variant": "vanilla", "version": "1.21.7", "customerId": f"bench-{customer}"}
    return json.dumps(order).encode()


def _add_customer(database: Database, customer_id: str) -> None:
    accounts.ensure_customer(database, customer_id)
    accounts.update_customer(database, customer_id, max_instances=10**6, max_memory_mib=2 * 10**9, max_cpu_cores=10**7)


def _make_orders(path: str, token: str) -> Callable[[], bytes]:
    """Make orders as a portal does: with one operator's token, for one customer after the other."""
    bodies, key = cycle([_make_body(number) for number in range(CUSTOMERS)]), count()
    run = uuid4().hex

    def make() -> bytes:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{run}-{next(key)}"}
        return load.request("POST", path, headers, next(bodies))

    return make


def _make_gets(port: int, path: str, token: str) -> Callable[[], bytes]:
    """Place an order, and make requests that read its operation."""
    headers = {"Authorization": f"Bearer {token}"}
    order = httpx.post(
        f"http://127.0.0.1:{port}{path}",
        content=_make_body(0),
        headers=headers | {"Content-Type": "application/json", "Idempotency-Key": uuid4().hex},
        trust_env=False,
    ).raise_for_status()
    made = load.request("GET", order.json()["statusUrl"], headers)
    return lambda: made
