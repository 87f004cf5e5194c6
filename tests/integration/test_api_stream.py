"""An operation's stream: its state, its log once and in order, and its end."""

import os
import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from orchestrator.domain import updates
from orchestrator.domain.errors import Code
from orchestrator.domain.models import Failure, Lease
from orchestrator.domain.operations import PROVISION
from orchestrator.domain.phases import Phase
from orchestrator.store import accounts, endings, leases
from orchestrator.store.connection import Database
from tests.support.fix_api import Api, Caller, is_problem, lease_of, running_api
from tests.support.fix_stack import GAME
from tests.support.sse import following

PROMPT_SECONDS = 5


def begin(api: Api, customer: Caller, **headers: str) -> tuple[str, Lease]:
    """An order that a worker has taken; returns the path of its stream."""
    row = api.claim(customer.order(GAME, **headers)["operationId"])
    api.name(row)
    return f"/api/instances/operations/{row.id}/stream", lease_of(row)


def say(api: Api, lease: Lease, text: str) -> None:
    leases.record(api.database, lease, [updates.Logged(Phase.CLONE_CONTAINER, "info", text)])


def finish(api: Api, lease: Lease) -> None:
    (server_id,) = api.query("select instance_id from operation where id = %s", lease.operation_id)[0]
    endings.complete(api.database, PROVISION, server_id, lease, address="127.0.0.9")


def log_of(caller: Caller, path: str) -> list[dict[str, Any]]:
    """The log as the endpoint without a stream has it."""
    found: list[dict[str, Any]] = caller.get(path.replace("/stream", "/events")).json()["events"]
    return found


def test_tells_the_state_first_and_then_what_changes_up_to_the_end(api: Api) -> None:
    customer = api.customer()
    path, lease = begin(api, customer)
    with following(customer, path) as events:
        first = next(events)
        assert (first.name, first.last_id, first.data["status"]) == ("operation", None, "running")
        before = list(islice(events, len(log_of(customer, path))))
        assert [event.data for event in before] == log_of(customer, path)
        say(api, lease, "on its way")
        line, state = next(events), next(events)
        assert (line.name, line.data["message"], line.last_id) == ("log", "on its way", str(line.data["seq"]))
        assert (state.name, state.last_id) == ("operation", line.last_id)
        finish(api, lease)
        rest = list(events)
    assert [event.name for event in rest[-2:]] == ["operation", "end"]
    assert rest[-2].data == customer.operation(path.split("/")[-2])
    assert rest[-1].data == {"status": "succeeded"}


def test_tells_one_that_is_over_and_ends(api: Api) -> None:
    customer = api.customer()
    path, lease = begin(api, customer)
    finish(api, lease)
    with following(customer, path) as events:
        told = list(events)
    assert [event.data for event in told if event.name == "log"] == log_of(customer, path)
    assert [event.name for event in told if event.name != "log"] == ["operation", "end"]


def test_tells_a_log_of_many_pages(api: Api) -> None:
    customer = api.customer()
    path, lease = begin(api, customer)
    for number in range(0, 1100, 100):
        lines = [updates.Logged(Phase.CLONE_CONTAINER, "info", f"line {number + each}") for each in range(100)]
        leases.record(api.database, lease, lines)
    finish(api, lease)
    with following(customer, path) as events:
        seqs = [event.data["seq"] for event in events if event.name == "log"]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) > 1100


def test_tells_every_line_once_to_who_is_cut_off_and_comes_back(api: Api) -> None:
    customer = api.customer()
    path, lease = begin(api, customer)
    over = threading.Event()

    def work() -> None:
        chance = random.Random(1)  # noqa: S311 - no secret
        while not over.is_set():
            for _ in range(chance.randrange(4)):
                say(api, lease, f"line of {time.monotonic()}")
            time.sleep(chance.random() / 50)
        finish(api, lease)

    tokens = [api.caller(customer.customer_id) for _ in range(4)]
    with ThreadPoolExecutor(5) as pool:
        working = pool.submit(work)
        try:
            seen = list(pool.map(_resume_often, tokens, [path] * 4, range(4)))
        finally:
            over.set()
        working.result()
    told = log_of_all(customer, path)
    for lines, last_id in seen:
        with following(customer, path, last_id) as events:
            rest = list(events)
        assert rest[-1].name == "end"
        assert lines + [event.data for event in rest if event.name == "log"] == told
        assert len(lines) > 100


def _resume_often(customer: Caller, path: str, seed: int) -> tuple[list[dict[str, Any]], str | None]:
    """Reads a few events, goes away, and comes back with the last id, 100 times; returns the lines and that id."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    lines: list[dict[str, Any]] = []
    last_id: str | None = None
    for _ in range(100):
        with following(customer, path, last_id) as events:
            assert next(events).name == "operation"
            for event in islice(events, chance.randrange(8)):
                last_id = event.last_id
                lines += [event.data] if event.name == "log" else []
    return lines, last_id


def log_of_all(caller: Caller, path: str) -> list[dict[str, Any]]:
    """The whole log, page by page."""
    lines: list[dict[str, Any]] = []
    while page := caller.get(path.replace("/stream", "/events") + f"?after={len(lines)}").json()["events"]:
        lines += page
    return lines


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "99999999999999999999"])
def test_refuses_a_last_id_that_is_none(api: Api, last_id: str) -> None:
    customer = api.customer()
    path, _ = begin(api, customer)
    problem = is_problem(customer.get(path, Last_Event_ID=last_id), 400, "invalid-request")
    assert problem["errors"][0]["parameter"] == "Last-Event-ID"


def test_begins_anew_for_a_last_id_that_there_is_not_yet(api: Api) -> None:
    customer = api.customer()
    path, lease = begin(api, customer)
    finish(api, lease)
    with following(customer, path, "4711") as events:
        assert [event.data for event in events if event.name == "log"] == log_of(customer, path)


def test_answers_a_head_without_a_stream(api: Api) -> None:
    customer = api.customer()
    path, _ = begin(api, customer)
    answer = customer.request("HEAD", path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"


def test_tells_customers_nothing_of_the_site(api: Api) -> None:
    customer, operator = api.customer(), api.caller(None)
    path, lease = begin(api, customer)
    failure = Failure(code=Code.INTERNAL, phase=Phase.CLONE_CONTAINER, message="pve7 is full", detail={"at": "pve7"})
    with following(customer, path) as theirs, following(operator, path) as ours:
        told = [next(theirs), next(ours)]
        endings.begin_cleaning(api.database, lease, failure)
        for events in (theirs, ours):
            told.append(next(event for event in events if event.name == "operation"))
    assert "pve7" in str(told[3].data)
    assert "pve7" not in str(told[2].data)
    with following(customer, path) as events:
        lines = [event.data["message"] for event in islice(events, 1, 1 + len(log_of(customer, path)))]
    assert lines[-1] == Code.INTERNAL.customer_sentence


def test_case_c8_ends_with_a_token_that_is_revoked(api: Api) -> None:
    customer = api.customer()
    path, _ = begin(api, customer)
    ((token_id,),) = api.query("select id from token where customer_id = %s", customer.customer_id)
    with following(customer, path) as events:
        next(events)
        accounts.revoke_token(api.database, token_id)
        revoked = time.monotonic()
        assert [event.name for event in events if event.name != "log"] == []
    assert time.monotonic() - revoked < PROMPT_SECONDS


def test_opens_no_more_streams_than_a_token_may_have(database_url: str, database: Database) -> None:
    with running_api(database_url, streams_per_token="2") as api, ExitStack() as open_streams:
        customer = api.customer()
        path, _ = begin(api, customer)
        readers = [open_streams.enter_context(following(customer, path)) for _ in range(2)]
        for events in readers:
            next(events)
        problem = is_problem(customer.get(path), 429, "rate-limited")
        assert "2 streams open" in problem["detail"]
        open_streams.close()
        deadline = time.monotonic() + PROMPT_SECONDS
        while customer.request("HEAD", path).status_code == 429:
            assert time.monotonic() < deadline, "a stream that was left still counts"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_200_streams_with_the_process(database_url: str, database: Database, number: signal.Signals) -> None:
    with running_api(database_url, streams_per_token="1000") as api, ExitStack() as open_streams:
        customer = api.customer()
        path, lease = begin(api, customer)
        readers = [open_streams.enter_context(following(customer, path)) for _ in range(200)]
        for events in readers:
            next(events)
        say(api, lease, "still here")
        for events in readers:
            assert any(event.data.get("message") == "still here" for event in events)
        process = psutil.Process(api.pid)
        asked = time.monotonic()
        os.kill(api.pid, number)
        psutil.wait_procs([process], timeout=20)
        assert time.monotonic() - asked < 2
        for events in readers:
            assert "end" not in [event.name for event in events]
        assert "ERROR" not in api.log.read_text()
        assert "Traceback" not in api.log.read_text()


def test_drops_a_client_that_takes_nothing(database_url: str, database: Database) -> None:
    with running_api(database_url) as api:
        customer = api.customer()
        path, lease = begin(api, customer)
        where = urlsplit(api.url)
        with socket.create_connection((where.hostname, where.port)) as lazy, following(customer, path) as events:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {customer.token}\r\n\r\n".encode())
            assert lazy.recv(12) == b"HTTP/1.1 200"
            deadline = time.monotonic() + 60
            text = "x" * 1500
            while _is_connected(api, lazy):
                assert time.monotonic() < deadline, "it is still served"
                lines = [updates.Logged(Phase.CLONE_CONTAINER, "info", text) for _ in range(50)]
                leases.record(api.database, lease, lines)
                assert any(event.name == "operation" for event in events)


def _is_connected(api: Api, client: socket.socket) -> bool:
    own = client.getsockname()[1]
    return any(each.raddr and each.raddr.port == own for each in psutil.Process(api.pid).net_connections("tcp"))
