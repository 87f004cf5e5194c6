"""The proxies that one contract holds for: how each is reached, what it lists, and how a player gets through it."""

import json
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from orchestrator.domain.publications import Publication
from orchestrator.drivers.players.minecraft import PingError, ping
from orchestrator.drivers.proxy.base import ProxyDriver, Registration
from orchestrator.drivers.proxy.factory import open_proxy, parse_proxy, publications_of
from orchestrator.drivers.secrets import Secrets
from tests.support import lab_proxy
from tests.support.edge import other_secrets
from tests.support.fix_lab import Lab
from tests.support.playbook import ROOT, Run, play

NAME, SERVER = "contract-5990", "f1e2d3c4-0000-4000-8000-000000005990"
FOREIGN = "theirs-5991"
ZONES = ("lab.internal", "lab.example")
PUBLIC_PORT = 30990
TASK = "Registration"
WITHDRAW = "Remove the registration and the records"
PATIENCE = 1.0
"""Seconds that a task waits for a proxy that is away."""


@dataclass(frozen=True)
class Setting:
    """How a task is played: which proxy, which further inventory and which variables."""

    proxy: dict[str, Any]
    inventory: Path | None = None
    variables: dict[str, Any] | None = None


class Kind(ABC):
    """One kind of proxy in the lab."""

    protocol = "tcp"
    refusal: str
    """What its message names when the credentials are wrong."""

    def driver(self, lab: Lab, *, check: bool = False) -> ProxyDriver:
        """The driver, whose modules run here."""
        proxy = parse_proxy(self.entry(lab))
        return open_proxy(proxy, Secrets(lab.state_dir / "lab" / "secrets.json"), run=here(check), timeout=PATIENCE)

    @abstractmethod
    def entry(self, lab: Lab) -> dict[str, Any]:
        """What the inventory says of it."""

    @abstractmethod
    def usual(self, lab: Lab, directory: Path) -> Setting:
        """As it is set up."""

    @abstractmethod
    def away(self, lab: Lab, directory: Path) -> AbstractContextManager[Setting]:
        """While nobody answers."""

    @abstractmethod
    def denied(self, lab: Lab, directory: Path) -> Setting:
        """With credentials that it does not take."""

    @abstractmethod
    def backend(self) -> AbstractContextManager[int]:
        """A server on loopback whose port is given, for players to get to."""

    @abstractmethod
    def listed(self, lab: Lab, name: str) -> set[tuple[str, int]]:
        """Addresses and ports that players of `name` are led to."""

    @abstractmethod
    def plant(self, lab: Lab, name: str) -> None:
        """Register somebody else's server, past Hostwright."""

    @abstractmethod
    def clear(self, lab: Lab, name: str) -> None:
        """Take away what is registered under the name, past Hostwright."""

    @abstractmethod
    def player_reaches(self, lab: Lab) -> int | None:
        """The port of the server behind our name, None when nobody gets through."""


class ByHostName(Kind):
    """What the two routers of Minecraft have in common."""

    entries: str
    edge: str
    refusal = "check secret"

    def usual(self, lab: Lab, directory: Path) -> Setting:
        return Setting(self.entry(lab))

    @contextmanager
    def away(self, lab: Lab, directory: Path) -> Iterator[Setting]:
        with lab_proxy.dead_port() as port:
            yield Setting(self.entry(lab) | {"url": f"http://127.0.0.1:{port}"})

    def denied(self, lab: Lab, directory: Path) -> Setting:
        entry = self.entry(lab)
        secrets = other_secrets(lab, directory, **{entry["secret"]: "planted-wrong-token"})
        return Setting(entry, None, {"hostwright_secrets_file": secrets})

    def backend(self) -> AbstractContextManager[int]:
        return lab_proxy.minecraft_backend()

    def listed(self, lab: Lab, name: str) -> set[tuple[str, int]]:
        entries = lab.inventory()[self.entries]
        return {(one["address"], one["port"]) for one in entries if one["name"].partition(".")[0] == name}

    def player_reaches(self, lab: Lab) -> int | None:
        address, _, port = lab.urls[self.edge].partition(":")
        try:
            return ping(address, int(port), hostname=f"{NAME}.lab.example").players_max
        except PingError:
            return None


class Bridge(ByHostName):
    entries, edge = "registrations", "edgeAddress"

    def entry(self, lab: Lab) -> dict[str, Any]:
        return dict(lab.site["proxy"])

    def plant(self, lab: Lab, name: str) -> None:
        with closing(lab_proxy.bridge_client(lab)) as client:
            client.post("/zpack/register", json=lab_proxy.registration(name, 1)).raise_for_status()

    def clear(self, lab: Lab, name: str) -> None:
        with closing(lab_proxy.bridge_client(lab)) as client:
            client.post("/zpack/unregister", json={"server_name": name})


class McRouter(ByHostName):
    entries, edge = "routes", "mcRouterAddress"

    def entry(self, lab: Lab) -> dict[str, Any]:
        return {"driver": "mc-router", "url": lab.urls["mcRouterUrl"], "secret": "mc_router_token"}

    def plant(self, lab: Lab, name: str) -> None:
        with self._client(lab) as client:
            body = {"serverAddress": f"{name}.lab.example", "backend": "127.0.0.1:1"}
            client.post("/routes", json=body).raise_for_status()

    def clear(self, lab: Lab, name: str) -> None:
        with self._client(lab) as client:
            for zone in ("lab.example", "lab.internal"):
                client.delete(f"/routes/{name}.{zone}")

    def _client(self, lab: Lab) -> httpx.Client:
        headers = {"Authorization": f"Bearer {lab.secrets['mc_router_token']}"}
        return httpx.Client(base_url=lab.urls["mcRouterUrl"], headers=headers, trust_env=False)


class Traefik(Kind):
    """As tasks its files are written over SSH, of which only the network is left out."""

    refusal = "check user, key and variables of host edge-ssh"

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol

    def entry(self, lab: Lab) -> dict[str, Any]:
        return dict(lab.site["entry_points"])

    def usual(self, lab: Lab, directory: Path) -> Setting:
        return self._over(lab, directory, 'for command; do :; done\nexec /bin/sh -c "$command"\n')

    @contextmanager
    def away(self, lab: Lab, directory: Path) -> Iterator[Setting]:
        yield self._over(lab, directory, failing("ssh: connect to host edge-ssh port 22: Connection refused"))

    def denied(self, lab: Lab, directory: Path) -> Setting:
        return self._over(lab, directory, failing("hostwright@edge-ssh: Permission denied (publickey)."))

    def backend(self) -> AbstractContextManager[int]:
        return echo_backend(self.protocol)

    def listed(self, lab: Lab, name: str) -> set[tuple[str, int]]:
        return {(one["address"], one["port"]) for one in lab.inventory()["entryPoints"] if one["name"] == name}

    def plant(self, lab: Lab, name: str) -> None:
        router = {"entryPoints": [f"{self.protocol}-30991"], "service": name}
        rule = {"rule": "HostSNI(`*`)"} if self.protocol == "tcp" else {}
        service = {"loadBalancer": {"servers": [{"address": "127.0.0.1:1"}]}}
        content = {self.protocol: {"routers": {name: router | rule}, "services": {name: service}}}
        directory_of(lab).joinpath(f"{name}.yml").write_text(json.dumps(content))

    def clear(self, lab: Lab, name: str) -> None:
        directory_of(lab).joinpath(f"{name}.yml").unlink(missing_ok=True)

    def player_reaches(self, lab: Lab) -> int | None:
        lab.inventory()  # the lab looks at the files at once
        answers = {echo_through(entry["address"], self.protocol) for entry in lab.site["dns"]}
        assert len(answers) == 1, answers
        return answers.pop()

    def _over(self, lab: Lab, directory: Path, ssh: str) -> Setting:
        script = directory / "ssh"
        script.write_text(f"#!/bin/sh\n{ssh}")
        script.chmod(0o755)
        host = {
            "ansible_connection": "ssh",
            "ansible_ssh_executable": str(script),
            "ansible_ssh_args": "",
            "ansible_ssh_transfer_method": "piped",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        }
        inventory = directory / "edge.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"edge-ssh": host}}}))
        return Setting(self.entry(lab) | {"host": "edge-ssh"}, inventory)


def here(check: bool) -> Any:
    """Runs a module as Ansible does on a host, but on this one and without Ansible around it."""

    def run(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments | {"_ansible_check_mode": check}})
        module = ROOT / "plugins" / "modules" / f"{name}.py"
        done = subprocess.run([sys.executable, module], input=given, capture_output=True, text=True, check=False)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


def failing(words: str) -> str:
    """An ssh that says this and gives up, as ssh does."""
    return f"echo '{words}' >&2\nexit 255\n"


def directory_of(lab: Lab) -> Path:
    """Where the lab's Traefik reads its files."""
    return Path(lab.site["entry_points"]["directory"])


def register(lab: Lab, at: Setting, kind: Kind, port: int, *arguments: str, timeout: float = PATIENCE) -> Run:
    """Play the task as the role has it, with `port` on loopback as the server."""
    server = {
        "hostname": NAME,
        "server_id": SERVER,
        "service": "any",
        "protocol": kind.protocol,
        "public_port": PUBLIC_PORT,
        "zones": ZONES,
        "address": "127.0.0.1",
        "port": port,
    }
    task = {
        "name": TASK,
        "edge_publish": {"providers": [], "proxy": at.proxy, "server": server, "timeout": timeout},
        "delegate_to": at.proxy.get("host", "localhost"),
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as playbook:
        json.dump([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}], playbook)
        playbook.flush()
        return play(Path(playbook.name), lab.state_dir, at.variables or {}, arguments=(*inventories(at), *arguments))


def unregister(lab: Lab, at: Setting, kind: Kind, port: int, *arguments: str, timeout: float = PATIENCE) -> Run:
    """Take it away as `register` published it, by the role."""
    order = {
        "vmid": 5990,
        "hostname": NAME,
        "server_id": SERVER,
        "publications": [one.as_dict() for one in published(at, kind, port)],
        "hostwright_proxy": at.proxy,
        "unpublish_edge_timeout": int(timeout),
    }
    variables = order | (at.variables or {})
    return play("phases/unpublish_edge", lab.state_dir, variables, arguments=(*inventories(at), *arguments))


def inventories(at: Setting) -> list[str]:
    """The options that name the lab's inventory and the setting's further one."""
    chosen = [ROOT / "inventory" / "lab", *([at.inventory] if at.inventory else [])]
    return [part for inventory in chosen for part in ("-i", str(inventory))]


def wanted(kind: Kind, port: int) -> Registration:
    """What `register` registers."""
    return Registration(NAME, SERVER, "127.0.0.1", port, ZONES, kind.protocol, PUBLIC_PORT)


def published(at: Setting, kind: Kind, port: int) -> list[Publication]:
    """What `register` publishes."""
    return publications_of(parse_proxy(at.proxy), wanted(kind, port))


def echo_through(address: str, protocol: str) -> int | None:
    """The port of the server that sends an echo back through the entry point."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as player:
        player.settimeout(5 if protocol == "tcp" else 0.5)
        try:
            player.connect((address, PUBLIC_PORT))
            player.sendall(b"hello")
            answer = player.recv(4096)
        except OSError:
            return None
    return int(answer.partition(b" ")[0]) if answer else None


class EchoHandler(socketserver.BaseRequestHandler):
    """Sends everything back with the server's port before it."""

    def handle(self) -> None:
        port = self.server.server_address[1]  # type: ignore[index]  # an IPv4 address
        if isinstance(self.request, tuple):
            data, connection = self.request
            connection.sendto(f"{port} ".encode() + data, self.client_address)
            return
        while data := self.request.recv(4096):
            self.request.sendall(f"{port} ".encode() + data)


@contextmanager
def echo_backend(protocol: str) -> Iterator[int]:
    """A server that is no Minecraft; gives its port."""
    kind = socketserver.ThreadingTCPServer if protocol == "tcp" else socketserver.ThreadingUDPServer
    with kind(("127.0.0.1", 0), EchoHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
