"""Watching on a terminal and in a pipe. No worker runs, so that an order waits for ever."""

import json
import os
import signal
import subprocess
import time
from itertools import pairwise

import pytest

from orchestrator.domain.models import Failure
from orchestrator.domain.operations import PROVISION
from orchestrator.domain.publications import Publication
from orchestrator.domain.updates import PublicationsRecorded
from orchestrator.store import endings, leases
from tests.support.fix_api import Api, Caller, lease_of
from tests.support.fix_stack import DEV, GAME
from tests.support.terminal import COMMAND, Terminal

SECONDS = 5.0
"""How long a command may take to end after Ctrl-C. It ends at once, but this machine may be busy."""
ORDER = ("create", "game", "--variant", "vanilla", "--version", "1.21.7", "--watch")
HOST = "mc-vanilla-5000.lab.example"
RECORDS = (
    Publication("technitium", "x/lab.example", "A", HOST, "127.0.0.5"),
    Publication("technitium", "x/lab.example", "SRV", f"_minecraft._tcp.{HOST}", f"0 5 25565 {HOST}"),
)


def access(api: Api, caller: Caller) -> dict[str, str]:
    return {"HOSTWRIGHT_URL": api.url, "HOSTWRIGHT_TOKEN": str(caller.token)}


def newest(caller: Caller) -> str:
    return str(caller.get("/api/instances/operations").json()["operations"][0]["operationId"])


def ready(api: Api, caller: Caller, order: dict[str, object]) -> str:
    """A finished order, with the id of its operation."""
    row = api.claim(caller.order(order)["operationId"])
    api.name(row)
    if order == GAME:
        leases.record(api.database, lease_of(row), [PublicationsRecorded(RECORDS)])
    endings.complete(api.database, PROVISION, row.instance_id, lease_of(row), address="127.0.0.9")
    return str(row.id)


@pytest.fixture
def customer(api: Api) -> Caller:
    return api.customer()


@pytest.mark.parametrize("command", ["create", "watch", "delete", "stop"])
def test_case_e1_ends_at_once_on_ctrl_c(api: Api, customer: Caller, command: str) -> None:
    if command == "create":
        arguments: tuple[str, ...] = ORDER
    elif command == "watch":
        arguments = ("watch", customer.order(GAME)["operationId"])
    else:
        vmid = api.complete(customer.order(GAME))
        arguments = (command, str(vmid), "--watch")
    terminal = Terminal(*arguments, **access(api, customer))
    terminal.read_until(lambda text: "queued" in text)
    code, seconds = terminal.interrupt()
    assert code == 130
    assert seconds < SECONDS
    assert f"the order goes on: hostwright watch {newest(customer)}" in terminal.text
    assert "Traceback" not in terminal.text


def test_case_e1_says_on_stderr_that_the_order_goes_on_when_json_is_wanted(api: Api, customer: Caller) -> None:
    process = subprocess.Popen(
        [*COMMAND, *ORDER, "--json"],
        env=os.environ | access(api, customer),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    first = [process.stdout.readline(), process.stdout.readline()]
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, complaint = process.communicate(timeout=60)
    assert time.monotonic() - began < SECONDS
    assert [json.loads(line)["status"] for line in [*first, *said.splitlines()]][:2] == ["queued", "queued"]
    assert "the order goes on: hostwright watch" in complaint


def test_case_e3_prints_json_lines_only(api: Api, customer: Caller) -> None:
    process = subprocess.Popen(
        [*COMMAND, *ORDER, "--json"], env=os.environ | access(api, customer), text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    row = api.claim(json.loads(lines[0])["operationId"])
    endings.fail(
        api.database, row.instance_id, lease_of(row), Failure(code="internal", message="no room"), attend_seconds=60
    )
    lines += process.communicate(timeout=60)[0].splitlines()
    told = [json.loads(line) for line in lines]
    assert process.returncode == 1
    assert told[-1]["status"] == "failed"
    assert told[-1]["error"]["code"] == "internal"
    assert all(first != second for first, second in pairwise(told))


def test_case_e14_says_in_a_pipe_that_it_waits_and_why(api: Api, customer: Caller) -> None:
    with api.database.transaction() as connection:
        connection.execute("delete from worker")
    order = customer.order(DEV)["operationId"]
    process = subprocess.Popen(
        [*COMMAND, "watch", order], env=os.environ | access(api, customer), text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert "queued" in line
    assert line.endswith("no worker is running\n")


@pytest.mark.parametrize(
    ("order", "told"),
    [(GAME, f"{HOST}:25565"), (DEV, "http://127.0.0.9:6000/")],
    ids=["game", "dev"],
)
def test_case_e8_says_at_the_end_how_the_server_is_reached(
    api: Api, customer: Caller, order: dict[str, object], told: str
) -> None:
    terminal = Terminal("watch", ready(api, customer, order), **access(api, customer))
    text = terminal.read_until(lambda _: False)
    assert terminal.process.wait(60) == 0
    assert told in text
    if order == DEV:
        assert "python 3.12" in text
        assert "no password" in text
