"""Fixtures: the lab's Proxmox in a thread of the test, whose state a test can look at, and clients of it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest
from proxmoxer import ProxmoxAPI

from orchestrator.drivers.proxmox.client import Endpoint
from orchestrator.drivers.proxmox.session import Session
from orchestrator.lab.addresses import Addresses, claim_block
from orchestrator.lab.guests.processes import ProcessGuests
from orchestrator.lab.history import History
from orchestrator.lab.proxmox.node import LabProxmox
from orchestrator.lab.servers.certificates import issue_certificate
from tests.support.loop_thread import PATIENCE, LoopThread

T = TypeVar("T")
TOKEN = "b7c2-token-of-the-lab"
MARK = "Managed by Hostwright. instance=1 operation=2"


def wait_until(condition: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)
    return value


class Lab:
    """LabProxmox in a loop of its own thread, and a client."""

    def __init__(self, root: Path, addresses: Addresses, speed: float, agent_token: str | None = None) -> None:
        self.root, self.addresses, self.speed, self.agent_token = root, addresses, speed, agent_token
        self.clients: list[ProxmoxAPI] = []
        self.sessions: list[Session] = []
        self.files = issue_certificate(root, [addresses.proxmox])
        self.thread = LoopThread()
        self.run = self.thread.run
        self.up()

    def up(self) -> None:
        self.run(self._up())

    async def _up(self) -> None:
        history = History()
        self.pve = LabProxmox(
            host=self.addresses.proxmox,
            port=8006,
            root=self.root,
            guests=ProcessGuests(
                self.root, self.addresses.block, speed=self.speed, agent_token=self.agent_token, history=history
            ),
            speed=self.speed,
            token=TOKEN,
            history=history,
        )
        await self.pve.restore()
        await self.pve.start(self.files.make_context())

    def down(self) -> None:
        self.run(self.pve.close())

    def end(self) -> None:
        for session in self.sessions:
            session.proxmox.close()
        for client in self.clients:
            client._store["session"].close()
        self.down()
        self.thread.close()

    def client(self, token: str = TOKEN, verify: Path | bool | None = None) -> Any:
        client = ProxmoxAPI(
            self.addresses.proxmox,
            port=8006,
            user="hostwright@pve",
            token_name="lab",
            token_value=token,
            verify_ssl=str(self.files.ca) if verify is None else verify,
            timeout=30,
        )
        self.clients.append(client)
        return client

    def session(self, vmid: int, timeout: float = 20) -> Session:
        """A role's session, closed with the lab."""
        endpoint = Endpoint(self.addresses.proxmox, "pve1", "hostwright@pve", "lab", ca_file=str(self.files.ca))
        self.sessions.append(Session(endpoint, TOKEN, vmid, timeout))
        return self.sessions[-1]

    @property
    def node(self) -> Any:
        return self.client().nodes("pve1")

    def finish(self, upid: str) -> str:
        """The exit status of a task."""
        status = self.node.tasks(upid).status
        return str(wait_until(lambda: status.get().get("exitstatus")))

    def clone(self, vmid: int, source: int = 9000) -> None:
        upid = self.node.lxc(source).clone.post(newid=vmid, hostname=f"mc-{vmid}", full=1, description=MARK)
        assert self.finish(upid) == "OK"

    def start(self, vmid: int) -> str:
        """Start a container; its address."""
        assert self.finish(self.node.lxc(vmid).status.start.post()) == "OK"
        interface = wait_until(lambda: with_addresses(self.node.lxc(vmid).interfaces.get()))
        address = str(interface["ip-addresses"][-1]["ip-address"])
        wait_until(lambda: answers(address))
        return address

    def locks(self) -> dict[int, str | None]:
        return {container["vmid"]: container["lock"] for container in self.pve.containers()}


def with_addresses(interfaces: list[dict[str, Any]]) -> dict[str, Any] | None:
    return interfaces[1] if interfaces[1]["ip-addresses"] else None


def answers(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}:18888/health").status_code == 200
    except httpx.TransportError:
        return False


MakeLab = Callable[..., Lab]


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[MakeLab]:
    labs: list[Lab] = []
    addresses, claimed = claim_block(tmp_path, block=None, last_used=None)

    def make(speed: float = 0.0, agent_token: str | None = None) -> Lab:
        labs.append(Lab(tmp_path, addresses, speed, agent_token))
        return labs[-1]

    yield make
    for lab in labs:
        lab.end()
    claimed.close()
    for process in psutil.process_iter(["cmdline"]):
        assert str(tmp_path) not in " ".join(process.info["cmdline"] or []), "a guest outlived its lab"
