"""The last row of the order table: the database goes away, and comes back."""

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.domain.models import Lease
from orchestrator.store.embedded import EmbeddedPostgres
from orchestrator.store.migrations import migrate
from tests.integration.test_api_stream import begin, finish, say
from tests.support.fix_api import Api, Caller, is_problem, running_api, together
from tests.support.fix_stack import GAME
from tests.support.sse import following

CLIENTS = 8


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    """A migrated database server of this test's own."""
    # Not below pytest's own directory: root's server runs as another user, who could not enter it.
    with tempfile.TemporaryDirectory(prefix="hostwright-away-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)
        server = EmbeddedPostgres(Path(home))
        migrate(server.start())
        yield server
        server.stop()


def kill(server: EmbeddedPostgres) -> None:
    """Ends the server as a power cut would: nothing is flushed, nobody is told."""
    assert server.pid is not None
    processes = psutil.Process(server.pid).children(recursive=True)
    psutil.Process(server.pid).kill()
    psutil.wait_procs(processes, timeout=20)
    server.stop()


class Storm:
    """Clients that order until they are refused, each time with a new key, and remember what they were told."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._leaving = threading.Event()
        self.answers: dict[str, httpx.Response] = {}

    def run(self, number: int) -> None:
        while not self._leaving.is_set():
            key = f"storm-{number}-{uuid4()}"
            self.answers[key] = self._caller.post(GAME, Idempotency_Key=key)
            if self.answers[key].status_code != 202:
                return

    def seen(self, status: int) -> int:
        return Counter(answer.status_code for answer in list(self.answers.values()))[status]

    def stop(self) -> None:
        self._leaving.set()


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_answers_503_and_writes_nothing_by_half_while_the_database_is_away(server: EmbeddedPostgres) -> None:
    with running_api(server.url, rate_per_second="0", change_rate_per_second="0") as api:
        caller = api.customer(max_instances=10**6, max_memory_mib=2**30, max_cpu_cores=10**6)
        storm = Storm(caller)
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(storm.run, number) for number in range(CLIENTS)]
            try:
                wait_until(lambda: storm.seen(202) >= 50)
                kill(server)
            except BaseException:
                storm.stop()
                raise
            for each in running:
                each.result(60)
        refused = [answer for answer in storm.answers.values() if answer.status_code == 503]
        assert storm.seen(202) + len(refused) == len(storm.answers)
        for answer in refused:
            is_problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        _check_everything_is_away(api, caller)
        _check_the_log_says_it_once(api)
        server.start()
        wait_until(lambda: caller.get("/api/instances").status_code == 200)
        _check_nothing_is_half_written(api, caller, storm)


def _said(api: Api, lease: Lease) -> bool:
    """Whether a line was written. The first try may meet a connection of this process that was closed."""
    try:
        say(api, lease, "back again")
    except StoreUnavailable:
        return False
    return True


def test_a_stream_goes_on_when_the_database_is_back(server: EmbeddedPostgres) -> None:
    with running_api(server.url) as api:
        customer = api.customer()
        path, lease = begin(api, customer)
        with following(customer, path) as events:
            assert next(events).name == "operation"
            kill(server)
            wait_until(lambda: customer.get("/api/instances").status_code == 503)
            time.sleep(1)  # what watches the operation tries again
            server.start()
            wait_until(lambda: customer.get("/api/instances").status_code == 200)
            wait_until(lambda: _said(api, lease))
            assert any(event.data.get("message") == "back again" for event in events)
            finish(api, lease)
            assert [event.name for event in events][-1] == "end"


def _check_everything_is_away(api: Api, caller: Caller) -> None:
    unknown = uuid4()
    calls: list[Callable[[], httpx.Response]] = [
        lambda: caller.get("/api/instances"),
        lambda: caller.delete(f"/api/instances/{unknown}"),
        lambda: caller.get(f"/api/instances/operations/{unknown}"),
        lambda: api.stranger("hw_unknown").get("/api/instances"),
        lambda: api.http.get("/readyz"),
    ]
    # As many requests as the process has threads: the liveness probe must not wait behind them.
    calls += [lambda: caller.get("/api/instances")] * 15
    with ThreadPoolExecutor(len(calls)) as pool:
        asked = [pool.submit(call) for call in calls]
        assert api.http.get("/healthz").elapsed.total_seconds() < 2
        answers = [each.result() for each in asked]
    ready = answers.pop(4)
    assert (ready.status_code, ready.json()["database"]) == (503, False)
    for answer in answers:
        is_problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1


def _check_the_log_says_it_once(api: Api) -> None:
    """However many requests and threads found it away; only what the audit log misses is a line each."""
    warnings = [line for line in api.log.read_text().splitlines() if " WARNING " in line]
    others = [line for line in warnings if "not in the audit log" not in line]
    assert len(others) == 1
    assert "the database does not answer: " in others[0]


def _check_nothing_is_half_written(api: Api, caller: Caller, storm: Storm) -> None:
    api.database.close()
    operations = {
        str(operation): (str(instance), key)
        for operation, instance, key in _rows(
            api,
            "select o.id, i.id, k.key from operation o full join instance i on i.id = o.instance_id "
            "full join idempotency_key k on k.operation_id = o.id",
        )
    }
    assert None not in {value for pair in operations.items() for value in (pair[0], *pair[1])}
    assert "None" not in operations
    messages = [text for (text,) in _rows(api, "select convert_from(data, 'UTF8') from huey_task")]
    assert len(messages) == len(operations)
    for operation in operations:
        assert sum(operation in message for message in messages) == 1
    for key, answer in storm.answers.items():
        if answer.status_code == 202:
            body = answer.json()
            assert operations[body["operationId"]] == (body["serverId"], key)
            again = caller.post(GAME, Idempotency_Key=key)
            assert (again.content, again.headers["idempotency-replayed"]) == (answer.content, "true")


def _rows(api: Api, query: str) -> list[tuple[Any, ...]]:
    with api.database.connect() as connection:
        return connection.execute(query.encode()).fetchall()


def test_answers_as_before_when_the_database_was_restarted_meanwhile(server: EmbeddedPostgres) -> None:
    with running_api(server.url) as api:
        caller = api.customer()
        assert {answer.status_code for answer in together(20, lambda _: caller.get("/api/instances"))} == {200}
        kill(server)
        server.start()
        assert {answer.status_code for answer in together(20, lambda _: caller.get("/api/instances"))} == {200}


def test_keeps_an_open_request_alive_across_a_restart_of_the_database(server: EmbeddedPostgres) -> None:
    with running_api(server.url) as api:
        caller = api.customer()
        path = f"/api/instances/operations/{caller.order(GAME)['operationId']}"
        tag = caller.get(path).headers["etag"]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(caller.get, path, Prefer="wait=20", If_None_Match=tag)
            api.query("select pg_sleep(0.2)")
            kill(server)
            server.start()
            assert waiting.result(30).status_code in {200, 304, 503}
        wait_until(lambda: caller.get(path).status_code == 200)


def test_case_d4_says_quickly_that_it_is_not_ready(server: EmbeddedPostgres) -> None:
    with running_api(server.url) as api:
        kill(server)
        for _ in range(3):
            answer = api.http.get("/readyz")
            assert (answer.status_code, answer.json()["database"]) == (503, False)
            assert answer.elapsed.total_seconds() < 2.5
        server.start()
        wait_until(lambda: api.http.get("/readyz").json()["database"])
