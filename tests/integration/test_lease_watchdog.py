"""A task acts only while its worker's lease holds: real playbooks, a lease file that a test keeps or lets pass."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.fix_lab_proxmox import wait_until
from tests.support.fix_proxmox import LO, TEMPLATE, FakeProxmox
from tests.support.playbook import ROOT, environment

OURS = "3f0c9a50-0000-4000-8000-000000000001"
VMID = 5000
ETH0 = {"name": "eth0", "ip-addresses": [{"ip-address": "192.0.2.7"}]}
PATIENCE = 30.0


class LeaseFile:
    """What the worker writes: the end of its lease, replaced at once."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lease"

    def hold(self, seconds: float) -> float:
        until = time.monotonic() + seconds
        partial = self.path.with_suffix(".partial")
        partial.write_text(repr(until))
        partial.replace(self.path)
        return until


@pytest.fixture
def lease(tmp_path: Path) -> LeaseFile:
    return LeaseFile(tmp_path)


@contextmanager
def running_playbook(role: str, proxmox: FakeProxmox, lease: LeaseFile, *variables: str) -> Iterator[psutil.Process]:
    extra = [part for variable in (f"vmid={VMID}", f"server_id={OURS}", *variables) for part in ("-e", variable)]
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "ansible-playbook"), f"playbooks/phases/{role}.yml", *extra],
        cwd=ROOT,
        env=environment(proxmox.write_site()) | {"HOSTWRIGHT_LEASE_FILE": str(lease.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def task_of(playbook: psutil.Process, proxmox: FakeProxmox) -> psutil.Process:
    """The process of the task that asks Proxmox right now."""
    wait_until(lambda: proxmox.pve.requests)
    return max(playbook.children(), key=lambda child: child.create_time())  # one before it may not be reaped yet


def wait_without_address(proxmox: FakeProxmox) -> None:
    proxmox.pve.add_ct(VMID, node="pve1", status="running", config={"tags": f"hw-{OURS}"})
    proxmox.pve.reported[VMID] = [LO]


def test_waiting_task_dies_with_its_playbook_when_the_lease_passes(proxmox: FakeProxmox, lease: LeaseFile) -> None:
    wait_without_address(proxmox)
    lease.hold(PATIENCE)
    with running_playbook("wait_for_ip", proxmox, lease) as playbook:
        task = task_of(playbook, proxmox)
        until = lease.hold(1.5)
        assert playbook.wait(PATIENCE) == -signal.SIGKILL
        assert time.monotonic() >= until
        assert psutil.wait_procs([task], timeout=2)[1] == []


def test_prolonged_lease_keeps_a_task_alive(proxmox: FakeProxmox, lease: LeaseFile) -> None:
    wait_without_address(proxmox)
    lease.hold(PATIENCE)
    with running_playbook("wait_for_ip", proxmox, lease) as playbook:
        task_of(playbook, proxmox)
        for _ in range(10):
            lease.hold(2)
            time.sleep(0.4)
        lease.hold(PATIENCE)
        proxmox.pve.reported[VMID] = [ETH0]
        assert playbook.wait(PATIENCE) == 0


def test_lease_that_cannot_be_read_any_more_ends_when_it_would_have(proxmox: FakeProxmox, lease: LeaseFile) -> None:
    wait_without_address(proxmox)
    lease.hold(PATIENCE)
    with running_playbook("wait_for_ip", proxmox, lease) as playbook:
        task_of(playbook, proxmox)
        until = lease.hold(3)
        time.sleep(1.5)  # more than a look
        lease.path.write_text("nan")
        time.sleep(0.7)
        lease.path.unlink()
        assert playbook.wait(2 * PATIENCE) == -signal.SIGKILL
        assert time.monotonic() >= until


@pytest.mark.parametrize("content", [None, "", "soon", "inf", "1.0"])
def test_task_without_a_lease_does_nothing_at_all(proxmox: FakeProxmox, lease: LeaseFile, content: str | None) -> None:
    if content is not None:
        lease.path.write_text(content)
    with running_playbook("delete_container", proxmox, lease) as playbook:
        assert playbook.wait(PATIENCE) == -signal.SIGKILL
    assert proxmox.pve.requests == []


def test_frozen_task_that_goes_on_after_its_lease_changes_nothing(proxmox: FakeProxmox, lease: LeaseFile) -> None:
    proxmox.pve.snapshot_lock(TEMPLATE, "disk")
    lease.hold(PATIENCE)
    with running_playbook("clone_container", proxmox, lease) as playbook:
        with proxmox.holding_answers():  # so that it is frozen between two requests
            wait_until(proxmox.changes)
            task = task_of(playbook, proxmox)
            os.kill(task.pid, signal.SIGSTOP)
            until = lease.hold(0.5)
            while time.monotonic() < until:
                time.sleep(0.05)
            proxmox.pve.unlock(TEMPLATE)
        before = proxmox.changes()
        os.kill(task.pid, signal.SIGCONT)
        assert playbook.wait(PATIENCE) == -signal.SIGKILL
        assert psutil.wait_procs([task], timeout=2)[1] == []
    assert proxmox.changes() == before
    assert proxmox.pve.ct(VMID) is None


CHANGES = {
    "proxmox": """
        from orchestrator.drivers.proxmox.session import Session
        from orchestrator.drivers.proxmox.client import Endpoint
        session = Session(Endpoint("127.0.0.1", "pve1", "u@pve", "t", {port}, timeout=1), "token", 5000, 5)
        change = lambda: session.send("post", "lxc/5000/status/start")
    """,
    "http": """
        from orchestrator.drivers.httpjson import HttpJson
        change = lambda: HttpJson(timeout=1).call("POST", "http://127.0.0.1:{port}/")
    """,
    "rfc2136": """
        from orchestrator.drivers.dns.base import Provider
        from orchestrator.drivers.dns.rfc2136 import Rfc2136
        provider = Provider("p", "rfc2136", "z.example", "127.0.0.1", "127.0.0.1:{port}", "s", key_name="k")
        change = lambda: Rfc2136(provider, "mark", secret="c2VjcmV0", timeout=1).delete([])
    """,
}
PROGRAM = """
import time
from orchestrator.drivers import lease
{prepared}
lease.INTERVAL = 3600
lease.hold()
with open({file!r}, "w") as file:
    file.write(str(time.monotonic() + {left}))
try:
    change()
except Exception:
    pass
"""


@pytest.mark.parametrize(("left", "sent", "code"), [(-1, False, -signal.SIGKILL), (60, True, 0)])
@pytest.mark.parametrize("what", CHANGES)
def test_every_changing_request_asks_for_the_lease_itself(
    lease: LeaseFile, what: str, left: int, sent: bool, code: int
) -> None:
    """The thread that looks on is far away, as for a request that is the first thing a thawed process does."""
    lease.hold(PATIENCE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        prepared = textwrap.dedent(CHANGES[what]).format(port=server.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(prepared=prepared, file=str(lease.path), left=left)],
            env=os.environ | {"HOSTWRIGHT_LEASE_FILE": str(lease.path)},
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code
        assert was_asked(server) is sent


def was_asked(server: socket.socket) -> bool:
    try:
        connection, _ = server.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True
