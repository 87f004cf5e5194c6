"""Fixtures: a Proxmox API in a thread of the test, whose state a test can look at and disturb at will."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakepve import FakePve
from fakepve.certs import make_cert

from orchestrator.drivers.proxmox.client import Endpoint, Proxmox
from orchestrator.drivers.proxmox.session import Session
from tests.support.loop_thread import LoopThread

NODE, USER, TOKEN_NAME, TOKEN = "pve1", "hostwright@pve", "test", "0f0e0d0c-planted-token"
TEMPLATE = 9000
LO = {"name": "lo", "ip-addresses": [{"ip-address-type": "inet", "ip-address": "127.0.0.1", "prefix": "8"}]}


class Pve(FakePve):  # type: ignore[misc]  # fakepve has no types
    """Reports the addresses that a test sets, and can lose an answer after it was given, or hold answers back."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.reported: dict[int, list[dict[str, Any]]] = {}
        self.lose_answer_of: str | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    async def _lxc_interfaces(self, user: str, values: dict[str, Any]) -> list[dict[str, Any]] | None:
        container = self.ct(int(values["vmid"]))
        if container is None or container.status != "running":
            return None  # as Proxmox does: stopped and missing look alike
        return self.reported.get(container.vmid, [LO])

    async def _answer(self, request: Any, handler: Any, generic: Any, node: Any) -> Any:
        answer = await super()._answer(request, handler, generic, node)
        if request.method != "GET":
            await self.answering.wait()
        if self.lose_answer_of and request.method != "GET" and request.path.endswith(self.lose_answer_of):
            self.lose_answer_of = None
            request.transport.close()
        return answer


class FakeProxmox:
    """The API with one template, and the site files that point at it."""

    def __init__(self, directory: Path) -> None:
        self.state_dir = directory
        self._clients: list[Proxmox] = []
        self._thread = LoopThread()
        self.run = self._thread.run
        self.pve = Pve(port=0)
        self.pve.time_scale = 0
        self.pve.apitokens[f"{USER}!{TOKEN_NAME}"] = TOKEN
        self.pve.add_node(NODE)
        self.pve.add_ct(TEMPLATE, name="template", node=NODE, template=True, config={"net0": _net()})
        self.certificate, key, _ = make_cert(str(directory), hosts=(self.pve.host,))
        self.run(self.pve.start(self.certificate, key))
        self.endpoint = Endpoint(
            host=self.pve.host,
            port=self.pve.port,
            node=NODE,
            user=USER,
            token_name=TOKEN_NAME,
            ca_file=self.certificate,
        )

    def soon(self, seconds: float, call: Any, *arguments: Any) -> None:
        """Lets something happen while the test waits for its effect."""
        self._thread.soon(self._thread.loop.call_later, seconds, call, *arguments)

    def session(self, vmid: int, timeout: float = 10) -> Session:
        session = Session(self.endpoint, TOKEN, vmid, timeout)
        self._clients.append(session.proxmox)
        return session

    def client(self) -> Proxmox:
        self._clients.append(Proxmox(self.endpoint, TOKEN))
        return self._clients[-1]

    def changes(self) -> list[tuple[str, str]]:
        """The requests so far that were not reads."""
        return [(method, path) for method, path, _ in self.pve.requests if method != "GET"]

    @contextmanager
    def holding_answers(self) -> Iterator[None]:
        """Requests that change something are carried out meanwhile, and answered afterwards."""
        self._thread.soon(self.pve.answering.clear)
        yield
        self._thread.soon(self.pve.answering.set)

    def write_site(self) -> Path:
        """What the inventory reads, as the lab writes it; returns the state directory."""
        lab = self.state_dir / "lab"
        lab.mkdir(exist_ok=True)
        where = {name: getattr(self.endpoint, name) for name in ("host", "port", "node", "user", "token_name")}
        network = {"bridge": "vmbr0", "interface": "eth0"}
        site = {
            "proxmox": {**where, "ca_file": self.certificate},
            "templates": {"game": TEMPLATE, "dev": TEMPLATE},
            "network": {"game": network, "dev": {**network, "bridge": "vmbr1"}},
        }
        (lab / "site.json").write_text(json.dumps(site))
        (lab / "secrets.json").touch(0o600)
        (lab / "secrets.json").write_text(json.dumps({"proxmox_token": TOKEN}))
        return self.state_dir

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.run(self._end())
        self._thread.close()

    async def _end(self) -> None:
        await self.pve.stop()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _net() -> str:
    return "name=eth0,bridge=vmbr9,firewall=1,gw=192.0.2.1,hwaddr=BC:24:11:00:00:01,ip=192.0.2.9/24,type=veth"


@pytest.fixture
def proxmox(tmp_path: Path) -> Iterator[FakeProxmox]:
    """A Proxmox API of its own, without delays."""
    fake = FakeProxmox(tmp_path)
    yield fake
    fake.close()
