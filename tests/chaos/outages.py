"""Scenarios in which a part of Hostwright fails: the database, the queue, a worker, the disk."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import psycopg

from tests.chaos.customer import BrokenError, Server
from tests.chaos.holds import REACH_SECONDS, begin_and_hold
from tests.chaos.parts import Part
from tests.chaos.phases import Place
from tests.chaos.site import LEASE, SWEEP
from tests.chaos.stage import Stage

AWAY_SECONDS = 30.0
FULL_SECONDS = 10.0
PHASE_SECONDS = 30.0
"""The time limit of the phases in which the disk is full, with what the worker adds to it."""
WAIT = "wait-for-agent-terminal-state"
HANG = {"target": "agent", "behaviour": "hang", "times": 1}


def stop_postgres(stage: Stage) -> str:
    """The database is stopped for 30 s with an order under way, and another order is placed meanwhile."""
    customer, later = stage.site.customer(), []
    with begin_and_hold(stage.site, stage.phases, stage.order, "start-container") as (first, _):
        stage.site.postgres.stop()
    asking = threading.Thread(target=lambda: later.append(stage.order(customer)))
    asking.start()
    time.sleep(AWAY_SECONDS)
    stage.site.postgres.wanted = True
    asking.join()
    return _expect_success(stage, [first, *later])


def empty_queue(stage: Stage) -> str:
    """The queue's table is emptied again and again while orders come in."""
    customers = [stage.site.customer() for _ in range(4)]
    with _repeating(stage, "delete from huey_task"):
        servers = [stage.order(customer) for customer in customers]
        time.sleep(5)
    return _expect_success(stage, servers)


def cut_off_listeners(stage: Stage) -> str:
    """Nobody hears a notification, because every connection that listens is cut off."""
    customer = stage.site.customer()
    query = (
        "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%' and pid <> pg_backend_pid()"
    )
    with _repeating(stage, query):
        server = stage.order(customer)
        stage.phases.wait(server.operation_id, "clone-container", seconds=REACH_SECONDS)
    return _expect_success(stage, [server])


@contextmanager
def _repeating(stage: Stage, statement: str) -> Iterator[None]:
    """Run a statement every tenth of a second meanwhile."""
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


def kill_worker_twice(stage: Stage) -> str:
    """The worker of an order is killed, and so is the one that resumes it. The order fails, and nothing is left."""
    stage.site.lab.fault(**HANG)
    server = stage.order()
    for attempt in (1, 2):
        _find_worker(stage, _wait_for_attempt(stage, server, attempt)).kill()
    operation = stage.finish(server, "failed")
    if operation["error"]["code"] != "worker-lost":
        raise BrokenError(f"it failed with {operation['error']}")
    stage.require_consistent(server)
    return f"failed, worker-lost, attempt {operation['attempt']}"


def cancel_after_kill(stage: Stage) -> str:
    """An order is cancelled while nobody works on it because its worker was killed."""
    stage.site.lab.fault(**HANG)
    server = stage.order()
    _find_worker(stage, _wait_for_attempt(stage, server, 1)).kill()
    status = server.customer.cancel(server)
    stage.finish(server, "cancelled")
    stage.require_consistent(server)
    return f"answered {status}, cancelled"


def cancel_queued(stage: Stage) -> str:
    """An order that waits behind others is cancelled. It ends at once and never begins."""
    busy = [stage.order() for _ in range(stage.site.plan.concurrency)]
    for server in busy:
        stage.phases.wait(server.operation_id, "clone-container", seconds=REACH_SECONDS)
    server = stage.order()
    server.customer.cancel(server)
    operation = stage.finish(server, "cancelled", seconds=2)
    if operation["startedAt"] is not None:
        raise BrokenError("it began all the same")
    _expect_success(stage, busy)
    stage.require_consistent(server)
    return "cancelled, never begun"


def freeze_worker_for_good(phase: str) -> Callable[[Stage], str]:
    """The scenario in which an order's worker is frozen until the order is finished without it."""

    def run(stage: Stage) -> str:
        with begin_and_hold(stage.site, stage.phases, stage.order, phase) as (server, place):
            worker = _find_worker(stage, place)
            worker.freeze()
        try:
            return _expect_success(stage, [server])
        finally:
            worker.kill()

    return run


def freeze_only_worker(stage: Stage) -> str:
    """The only worker is frozen. Its playbook ends before the lease does, though nobody can take the order over."""
    stage.site.lab.fault(**HANG)
    server = stage.order()
    place = _wait_for_attempt(stage, server, 1)
    runs = {one.run for one in stage.marks.living(place.operation)}
    worker = _find_worker(stage, place)
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
    return f"playbook ended {lived:.1f} s after the worker was frozen"


def fill_disk(phase: str) -> Callable[[Stage], str]:
    """The scenario in which workers and playbook cannot write to files for ten seconds from this phase on."""

    def run(stage: Stage) -> str:
        with begin_and_hold(stage.site, stage.phases, stage.order, phase) as (server, _):
            pids = [worker.pid for worker in stage.site.workers]
            pids += [one.pid for one in stage.marks.living(server.operation_id)]
            limits = {pid: _limit_files(pid, 0) for pid in pids}
        time.sleep(FULL_SECONDS)
        for pid, limit in limits.items():
            _limit_files(pid, limit)
        # ansible-playbook may wait for ever for a result that could not be written, until the phase's limit ends it.
        operation = stage.finish(server, "succeeded", "failed", seconds=stage.patience + PHASE_SECONDS)
        stage.require_consistent_in_the_end(server)
        again = stage.order()
        return f"{operation['status']}; the next order {_expect_success(stage, [again])}"

    return run


def _limit_files(pid: int, size: int) -> int:
    """Limit how large a file a process may write (RLIMIT_FSIZE, soft); returns the limit before."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        soft, hard = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (size, hard))
        return int(soft)
    return psutil.RLIM_INFINITY


def kill_half_of_workers(stage: Stage) -> str:
    """Two of four workers are killed at once with orders under way, and both of the others sweep."""
    servers = [stage.order() for _ in range(4)]
    places = [stage.phases.wait(one.operation_id, "clone-container", seconds=REACH_SECONDS) for one in servers]
    victims = {worker.name: worker for place in places if (worker := stage.site.worker_named(place.worker))}
    for worker in list(victims.values())[:2]:
        worker.kill()
    return _expect_success(stage, servers)


def kill_workers_with_wrong_clock(stage: Stage) -> str:
    """The clock of one of two workers is wrong, and each worker is killed once with orders under way."""
    done = []
    for worker in stage.site.workers:
        servers = [stage.order() for _ in range(3)]
        for server in servers:
            stage.phases.wait(server.operation_id, "clone-container", seconds=REACH_SECONDS)
        worker.kill()
        done.append(_expect_success(stage, servers))
    return "; ".join(done)


def jump_clock(stage: Stage) -> str:
    """The clock of the only worker jumps an hour in the midst of three orders, and back in the midst of the next."""
    done = []
    for jump in (stage.site.clock_flag.touch, stage.site.clock_flag.unlink):
        servers = [stage.order() for _ in range(3)]
        stage.phases.wait(servers[-1].operation_id, "clone-container", seconds=REACH_SECONDS)
        jump()
        done.append(_expect_success(stage, servers))
    return "; ".join(done)


def _find_worker(stage: Stage, place: Place) -> Part:
    worker = stage.site.worker_named(place.worker)
    if worker is None:
        raise BrokenError(f"operation {place.operation} is run by {place.worker}, which is no worker of this site")
    return worker


def _wait_for_attempt(stage: Stage, server: Server, number: int) -> Place:
    """Wait until the playbook of this attempt waits for the agent."""
    deadline = time.monotonic() + REACH_SECONDS
    while time.monotonic() < deadline:
        place = stage.phases.now(server.operation_id)
        if place is not None and (place.attempt, place.status, place.phase) == (number, "running", WAIT):
            return place
    raise BrokenError(f"operation {server.operation_id} did not come to attempt {number} within {REACH_SECONDS:g} s")


def _expect_success(stage: Stage, servers: list[Server]) -> str:
    attempts = []
    for server in servers:
        operation = stage.finish(server, "succeeded")
        attempts.append(operation["attempt"])
        stage.require_consistent(server)
    return f"{len(servers)} succeeded, attempts {attempts}"
