"""An API process that is told to leave: what was accepted is answered, and nobody makes it wait."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from orchestrator.store.connection import Database
from tests.support.fix_api import running_api
from tests.support.fix_stack import DEV


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_answers_who_waits_and_ends(database_url: str, database: Database, number: signal.Signals) -> None:
    with running_api(database_url) as api, ThreadPoolExecutor(2) as threads:
        customer = api.customer()
        operation = customer.order(DEV, Idempotency_Key="one")["operationId"]
        path = f"/api/instances/operations/{operation}"
        watching = threads.submit(customer.get, path, Prefer="wait=30")
        ordering = threads.submit(customer.post, DEV, Idempotency_Key="two", Prefer="wait=30")
        while len(api.query("select id from instance")) < 2:
            time.sleep(0.01)
        begun = time.monotonic()
        os.kill(api.pid, number)
        answers: list[httpx.Response] = [watching.result(), ordering.result()]
        psutil.wait_procs([psutil.Process(api.pid)] if psutil.pid_exists(api.pid) else [], timeout=10)
        assert time.monotonic() - begun < 10, "it waits for those who wait"
        assert [answer.status_code for answer in answers] == [200, 202]
        assert {answer.json()["status"] for answer in answers} == {"queued"}
