"""What happens to the parts that Hostwright itself is made of: database, queue, workers, disk."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import psycopg

from tests.chaos.customer import BrokenError, Server
from tests.chaos.holds import REACH_SECONDS, begun
from tests.chaos.parts import Part
from tests.chaos.phases import Place
from tests.chaos.site import LEASE, SWEEP
from tests.chaos.stage import Stage

AWAY_SECONDS = 30.0
FULL_SECONDS = 10.0
PHASE_SECONDS = 30.0
"""The limit of the phases in which the disk is full, and what the worker adds to it."""
WAIT = "wait-for-agent-terminal-state"
HANG = {"target": "agent", "behaviour": "hang", "times": 1}


def postgres_away(stage: Stage) -> str:
    """The database is stopped for 30 s with an order under way; another is placed meanwhile."""
    customer, later = stage.site.customer(), []
    with begun(stage.site, stage.phases, stage.order, "start-container") as (first, _):
        stage.site.postgres.stop()
    asking = threading.Thread(target=lambda: later.append(stage.order(customer)))
    asking.start()
    time.sleep(AWAY_SECONDS)
    stage.site.postgres.wanted = True
    asking.join()
    return _all_succeed(stage, [first, *later])


def queue_emptied(stage: Stage) -> str:
    """The queue's table is emptied again and again while orders come in."""
    customers = [stage.site.customer() for _ in range(4)]
    with _repeated(stage, "delete from huey_task"):
        servers = [stage.order(customer) for customer in customers]
        time.sleep(5)
    return _all_succeed(stage, servers)


def lost_notify(stage: Stage) -> str:
    """Nobody hears a notification: the connections that listen are cut off whenever there are any."""
    customer = stage.site.customer()
    query = (
        "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%' and pid <> pg_backend_pid()"
    )
    with _repeated(stage, query):
        server = stage.order(customer)
        stage.phases.wait(server.operation_id, "clone-container", seconds=REACH_SECONDS)
    return _all_succeed(stage, [server])


@contextmanager
def _repeated(stage: Stage, statement: str) -> Iterator[None]:
    """Run a statement every tenth of a second."""
    ending = threading.Event()

    def run() -> None:
        with psycopg.connect(stage.site.postgres.server.url, autocommit=True) as connection:
            while not ending.wait(0.1):
                connection.execute(statement.encode())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def lost_twice(stage: Stage) -> str:
    """The worker of an order is killed, and so is the one that resumed it: it fails, and nothing is left."""
    stage.site.lab.fault(**HANG)
    server = stage.order()
    for attempt in (1, 2):
        _worker_of(stage, _attempt(stage, server, attempt)).kill()
    operation = stage.finish(server, "failed")
    if operation["error"]["code"] != "worker-lost":
        raise BrokenError(f"it failed with {operation['error']}")
    stage.require_consistent(server)
    return f"failed, worker-lost, attempt {operation['attempt']}"


def cancel_of_a_lost_worker(stage: Stage) -> str:
    """An order is cancelled while nobody works on it, because its worker was killed."""
    stage.site.lab.fault(**HANG)
    server = stage.order()
    _worker_of(stage, _attempt(stage, server, 1)).kill()
    status = server.customer.cancel(server)
    stage.finish(server, "cancelled")
    stage.require_consistent(server)
    return f"answered {status}, cancelled"


def cancel_queued(stage: Stage) -> str:
    """An order that waits behind others is cancelled: at once, and it never begins."""
    busy = [stage.order() for _ in range(stage.site.plan.concurrency)]
    for server in busy:
        stage.phases.wait(server.operation_id, "clone-container", seconds=REACH_SECONDS)
    server = stage.order()
    server.customer.cancel(server)
    operation = stage.finish(server, "cancelled", seconds=2)
    if operation["startedAt"] is not None:
        raise BrokenError("it was begun all the same")
    _all_succeed(stage, busy)
    stage.require_consistent(server)
    return "cancelled, never begun"


def frozen_for_good(phase: str) -> Callable[[Stage], str]:
    """The worker of an order stands still until the order is finished without it."""

    def run(stage: Stage) -> str:
        with begun(stage.site, stage.phases, stage.order, phase) as (server, place):
            worker = _worker_of(stage, place)
            worker.freeze()
        try:
            return _all_succeed(stage, [server])
        finally:
            worker.kill()

    return run


def frozen_alone(stage: Stage) -> str:
    """The only worker stands still: its playbook ends before the lease does, though nobody can take the order."""
    stage.site.lab.fault(**HANG)
    server = stage.order()
    place = _attempt(stage, server, 1)
    runs = {one.run for one in stage.marks.living(place.operation)}
    worker = _worker_of(stage, place)
    frozen_at = time.monotonic()
    worker.freeze()
    time.sleep(LEASE + 2 * SWEEP)
    lived = max((stage.marks.last_seen(place.operation, run) for run in runs), default=frozen_at) - frozen_at
    worker.kill()
    server.customer.cancel(server)
    stage.finish(server, "cancelled")
    stage.require_consistent(server)
    if lived > LEASE:
        raise BrokenError(f"its playbook was alive {lived:.1f} s later, and the lease was {LEASE:g} s")
    return f"playbook ended {lived:.1f} s after the worker stood still"


def disk_full(phase: str) -> Callable[[Stage], str]:
    """Nothing can be written to files, neither by workers nor by the playbook, for ten seconds from this phase on."""

    def run(stage: Stage) -> str:
        with begun(stage.site, stage.phases, stage.order, phase) as (server, _):
            pids = [worker.pid for worker in stage.site.workers]
            pids += [one.pid for one in stage.marks.living(server.operation_id)]
            limits = {pid: _limit_files(pid, 0) for pid in pids}
        time.sleep(FULL_SECONDS)
        for pid, limit in limits.items():
            _limit_files(pid, limit)
        # ansible-playbook may wait for ever for a result that could not be written: the phase's limit ends it then.
        operation = stage.finish(server, "succeeded", "failed", seconds=stage.patience + PHASE_SECONDS)
        stage.require_consistent_in_the_end(server)
        again = stage.order()
        return f"{operation['status']}; the next order {_all_succeed(stage, [again])}"

    return run


def _limit_files(pid: int, size: int) -> int:
    """Limit how large a file a process may write (RLIMIT_FSIZE, soft); returns the limit before."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        soft, hard = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (size, hard))
        return int(soft)
    return psutil.RLIM_INFINITY


def many_sweepers(stage: Stage) -> str:
    """Two of four workers are killed at once with orders under way, and all that live sweep."""
    servers = [stage.order() for _ in range(4)]
    places = [stage.phases.wait(one.operation_id, "clone-container", seconds=REACH_SECONDS) for one in servers]
    victims = {worker.name: worker for place in places if (worker := stage.site.worker_named(place.worker))}
    for worker in list(victims.values())[:2]:
        worker.kill()
    return _all_succeed(stage, servers)


def wrong_clock(stage: Stage) -> str:
    """The clock of one worker of two is wrong; each of them is killed once with orders under way."""
    done = []
    for worker in stage.site.workers:
        servers = [stage.order() for _ in range(3)]
        for server in servers:
            stage.phases.wait(server.operation_id, "clone-container", seconds=REACH_SECONDS)
        worker.kill()
        done.append(_all_succeed(stage, servers))
    return "; ".join(done)


def _worker_of(stage: Stage, place: Place) -> Part:
    worker = stage.site.worker_named(place.worker)
    if worker is None:
        raise BrokenError(f"operation {place.operation} is run by {place.worker}, which is no worker of this site")
    return worker


def _attempt(stage: Stage, server: Server, number: int) -> Place:
    """Wait until this attempt waits for the agent with a playbook."""
    deadline = time.monotonic() + REACH_SECONDS
    while time.monotonic() < deadline:
        place = stage.phases.now(server.operation_id)
        if place is not None and (place.attempt, place.status, place.phase) == (number, "running", WAIT):
            return place
    raise BrokenError(f"operation {server.operation_id} did not come to attempt {number} within {REACH_SECONDS:g} s")


def _all_succeed(stage: Stage, servers: list[Server]) -> str:
    attempts = []
    for server in servers:
        operation = stage.finish(server, "succeeded")
        attempts.append(operation["attempt"])
        stage.require_consistent(server)
    return f"{len(servers)} succeeded, attempts {attempts}"
