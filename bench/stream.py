"""`python -m bench.stream`: 1,000 streams of server-sent events on one API process, beside a bare SSE app.

It writes bench/results/stream.json: how long a line of a log takes to its readers, what a stream costs in memory, and
the CPU of the API against that of the bare app, which is given as many bytes to send. `make bench` does this too.
"""

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import psutil

from bench.figures import is_held, print_figures, write_results
from bench.server import start_server
from bench.site import describe_circumstances, run_empty
from orchestrator.domain.admission import Demand
from orchestrator.domain.models import Lease
from orchestrator.domain.phases import Phase
from orchestrator.domain.updates import Logged
from orchestrator.processes import stop
from orchestrator.settings import PROJECT_DIR
from orchestrator.store import accounts, leases, orders
from orchestrator.store.connection import Database
from orchestrator.store.leases import Claimant

RESULTS = PROJECT_DIR / "bench" / "results" / "stream.json"
TARGETS = {
    "sse_p99_ms": ("at most", 250.0),
    "sse_kb_per_stream": ("at most", 60.0),
    "sse_cpu_vs_bare": ("at most", 1.5),
}
STREAMS = 1000
OPERATIONS = 10
"""So many operations have their streams. A change is told to those of one."""
ROUNDS = 200
"""Lines of a log, to one operation after the other."""
_PAUSE_SECONDS = 0.05
_MARK = b"said "


@dataclass
class Readers:
    """Clients of streams: when each line came to each of them, and how many bytes."""

    delays: list[float] = field(default_factory=list)
    received: int = 0
    ready: int = 0

    async def read(self, port: int, path: str, token: str) -> None:
        """Follow one stream for as long as it lasts."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readuntil(b"\n\n")
        self.ready += 1
        while text := await reader.read(65536):
            self.received += len(text)
            for part in text.split(_MARK)[1:]:
                self.delays.append(time.monotonic() - float(part.partition(b" ")[0]))
        writer.close()


@dataclass(frozen=True)
class Seen:
    """What a server took for all rounds."""

    delays: list[float]
    received: int
    kb_per_stream: float
    cpu_seconds: float


async def _drive(pid: int, port: int, paths: list[str], token: str, say: Callable[[int], None]) -> Seen:
    """Open the streams, have a line said in each round, and see what comes of it."""
    readers, server = Readers(), psutil.Process(pid)
    before = server.memory_info().rss
    tasks = [asyncio.create_task(readers.read(port, paths[n % len(paths)], token)) for n in range(STREAMS)]
    while readers.ready < STREAMS:
        done = [task for task in tasks if task.done()]
        assert not done, [task.exception() for task in done][:1]
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    kb = (server.memory_info().rss - before) / 1024 / STREAMS
    readers.delays, readers.received = [], 0
    began = server.cpu_times()
    for number in range(ROUNDS):
        await asyncio.to_thread(say, number)
        await asyncio.sleep(_PAUSE_SECONDS)
    await asyncio.sleep(1)
    ended = server.cpu_times()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    used = ended.user + ended.system - began.user - began.system
    expected = ROUNDS * STREAMS // len(paths)
    assert len(readers.delays) == expected, f"{len(readers.delays)} of {expected} lines came"
    return Seen(readers.delays, readers.received, kb, used)


def _begin(database: Database) -> Lease:
    """Place an order, and take it as a worker does."""
    customer = f"bench-{uuid4().hex[:8]}"
    accounts.ensure_customer(database, customer)
    demand = Demand(uuid4().hex, b"", "game", 2048, 2)
    orders.place_order(database, orders.Order(customer, demand, {"variant": "vanilla", "version": "1.21.7"}))
    claim = leases.claim_next(database, Claimant("bench", 600.0, None, OPERATIONS))
    assert claim is not None
    return Lease(operation_id=claim.operation.id, fencing_token=claim.operation.fencing_token)


def measure(database_url: str) -> dict[str, float]:
    """Return the three figures."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    database = Database(database_url, size=4)
    database.open()
    token = accounts.create_token(database, name="bench", customer_id=None)
    taken = [_begin(database) for _ in range(OPERATIONS)]

    def say(number: int) -> None:
        lines = [Logged(Phase.CLONE_CONTAINER, "info", f"{_MARK.decode()}{time.monotonic()} ")]
        leases.record(database, taken[number % OPERATIONS], lines)

    environment = {"HOSTWRIGHT_STREAMS_PER_TOKEN": str(STREAMS)}
    process, port = start_server(
        [sys.executable, "-m", "orchestrator.cli", "serve"], database_url, "/healthz", environment
    )
    try:
        paths = [f"/api/instances/operations/{lease.operation_id}/stream" for lease in taken]
        ours = asyncio.run(_drive(process.pid, port, paths, token, say))
    finally:
        stop(process, 10)
        database.close()
    bare = _measure_bare(database_url, ours.received // (ROUNDS * STREAMS // OPERATIONS))
    print(f"  CPU {ours.cpu_seconds:.2f} s against {bare.cpu_seconds:.2f} s bare, {len(ours.delays)} lines")
    return {
        "sse_p99_ms": statistics.quantiles(ours.delays, n=100)[98] * 1000,
        "sse_kb_per_stream": ours.kb_per_stream,
        "sse_cpu_vs_bare": ours.cpu_seconds / bare.cpu_seconds,
    }


def _measure_bare(database_url: str, size: int) -> Seen:
    """Have the bare app send as many bytes to as many streams, in as many groups."""
    process, port = start_server([sys.executable, "-m", "bench.bare_stream"], database_url, "/none", {})
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:

        def say(number: int) -> None:
            text = f"data: {_MARK.decode()}{time.monotonic()} "
            http.post(f"/say/{number % OPERATIONS}", content=f"{text:x<{size - 2}}\n\n".encode())

        try:
            paths = [f"/stream/{number}" for number in range(OPERATIONS)]
            return asyncio.run(_drive(process.pid, port, paths, "none", say))
        finally:
            stop(process, 10)


def run() -> bool:
    """Measure, print and write the results. Returns whether every target is held."""
    print(f"streams: {STREAMS} on one process")
    with run_empty() as url:
        figures = measure(url)
    print_figures(figures, TARGETS)
    write_results(RESULTS, describe_circumstances() | {"figures": {name: round(figures[name], 3) for name in TARGETS}})
    return all(is_held(figures[name], target) for name, target in TARGETS.items())


if __name__ == "__main__":
    sys.exit(not run())
