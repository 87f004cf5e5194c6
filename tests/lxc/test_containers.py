"""Containers as guests: an order becomes a real container, can be reached from outside, and leaves no trace."""

import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from orchestrator.drivers.players import minecraft
from orchestrator.lab.addresses import Addresses
from orchestrator.lab.guests.lxc.container import Container
from orchestrator.lab.guests.lxc.kernel import find_cgroups
from tests.support.fix_lab import Lab, running_lab, tls_context
from tests.support.fix_lab_proxmox import wait_until
from tests.support.fix_stack import GAME, GUESTS, Running
from tests.support.observe import container

assert GUESTS == "lxc", "these tests are about containers: `make e2e GUESTS=lxc`"


def container_of(lab: Lab, vmid: int) -> Container:
    return Container(lab.state_dir / "lab" / "lxc", f"hw{lab.block}-{vmid}", "")


def run_inside(lab: Lab, vmid: int, *command: str) -> str:
    """Run a command inside a container, and return what it prints."""
    done = container_of(lab, vmid).run(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def find_traces(lab: Lab, vmid: int | None = None) -> list[str]:
    """Find everything that one container of a lab, or all of them, have on this machine."""
    block = lab.block
    container_name = re.compile(rf"\bhw{block}-{vmid or r'[0-9]+'}\b")
    interface = re.compile(rf"hw{block}v{vmid or r'[0-9]+'}$" + ("" if vmid else rf"|hwbr{block}$"))
    found = [f"interface {path.name}" for path in Path("/sys/class/net").iterdir() if interface.match(path.name)]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob("**/lxc.*") if container_name.search(path.name)]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if container_name.search(line)]
    found += [
        f"directory {path}" for path in (lab.state_dir / "lab" / "lxc").glob("hw*") if container_name.search(path.name)
    ]
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if container_name.search(line) and str(lab.state_dir) in line:
            found.append(f"process {line}")
    return found


def order_game(stack: Running, **more: Any) -> dict[str, Any]:
    operation = stack.provision(stack.customer(), GAME | more)
    assert operation["status"] == "succeeded", operation["error"]
    return operation


def address_of(lab: Lab, vmid: int) -> str:
    found = container(lab.inventory(), vmid)
    assert found is not None
    return str(found["address"])


def test_order_becomes_a_container_and_leaves_no_trace(stack: Running) -> None:
    operation = order_game(stack)
    lab, vmid = stack.lab, operation["vmid"]
    assert run_inside(lab, vmid, "cat", "/proc/1/comm") == "systemd"
    assert run_inside(lab, vmid, "systemctl", "is-system-running") == "running"
    assert run_inside(lab, vmid, "systemctl", "is-active", "hostwright-agent") == "active"
    assert run_inside(lab, vmid, "hostname") == operation["hostname"]
    processes = run_inside(lab, vmid, "ps", "-eo", "user:20,args").splitlines()
    games = [line for line in processes if "server.jar" in line]
    assert games, processes
    assert all(line.startswith("hostwright-workload ") for line in games)
    address = address_of(lab, vmid)
    assert address.startswith(f"10.86.{lab.block}.")
    # The ping goes to the container's own address, past every stand-in of the lab.
    assert minecraft.ping(address, 25565, hostname=operation["hostname"]).version == GAME["version"]
    kinds = {trace.partition(" ")[0] for trace in find_traces(lab, vmid)}
    assert kinds == {"interface", "cgroup", "directory", "process"}, "the search finds what there is"
    assert stack.tear_down(stack.operator, operation["serverId"])["status"] == "succeeded"
    assert find_traces(lab, vmid) == []


def test_container_has_the_memory_that_was_ordered(stack: Running) -> None:
    operation = order_game(stack, memoryMiB=768)
    limits = [
        (cgroup / name).read_text().strip()
        for cgroup in find_cgroups(container_of(stack.lab, operation["vmid"]).name)
        for name in ("memory.limit_in_bytes", "memory.max")
        if "payload" in cgroup.name and (cgroup / name).exists()
    ]
    assert limits == [str(768 * 1024 * 1024)]
    stack.tear_down(stack.operator, operation["serverId"])


def test_container_that_powers_itself_off_is_stopped(stack: Running) -> None:
    operation = order_game(stack)
    vmid = operation["vmid"]
    run_inside(stack.lab, vmid, "systemctl", "poweroff", "--no-block")
    wait_until(lambda: (container(stack.lab.inventory(), vmid) or {})["status"] == "stopped")
    assert not [trace for trace in find_traces(stack.lab, vmid) if not trace.startswith("directory")]
    started = stack.operator.request("POST", f"/api/instances/{operation['serverId']}/start")
    assert stack.finish(stack.operator, started["operationId"])["status"] == "succeeded"
    stack.tear_down(stack.operator, operation["serverId"])


def test_killed_lab_leaves_no_container_running_and_brings_them_back(tmp_path: Path) -> None:
    arguments = ("--guests", "lxc")
    with running_lab(tmp_path, speed=0, arguments=arguments, ending=signal.SIGKILL) as lab:
        lab.place_foreign(5000, "theirs")
        start(lab, 5000)
        address = address_of_running(lab, 5000)
        pids = [process.pid for process in psutil.Process(lab.pid).children(recursive=True)]
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    with running_lab(tmp_path, speed=0, arguments=arguments) as again:
        assert address_of_running(again, 5000) == address
        wait_until(lambda: agent_answers(address))
    left = [trace for trace in find_traces(again) if not trace.startswith("directory")]
    assert left == [], "a lab that ends takes its bridge, and everything that runs, with it"


def test_container_has_its_static_address(tmp_path: Path) -> None:
    with running_lab(tmp_path, speed=0, arguments=("--guests", "lxc")) as lab:
        lab.place_foreign(5000, "theirs")
        address = f"10.86.{lab.block}.200"
        config = f"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:0F:0F:0F,ip={address}/24,gw=10.86.{lab.block}.1,type=veth"
        call_proxmox(lab, "PUT", "/nodes/pve1/lxc/5000/config", net0=config)
        start(lab, 5000)
        wait_until(lambda: agent_answers(address))
        assert address in run_inside(lab, 5000, "ip", "-4", "-brief", "address", "show", "eth0")


def agent_answers(address: str) -> bool:
    """Whether an agent answers there, even if it only asks for its token."""
    try:
        return httpx.get(f"http://{address}:18888/health", trust_env=False).status_code in (200, 401)
    except httpx.TransportError:
        return False


def start(lab: Lab, vmid: int) -> None:
    call_proxmox(lab, "POST", f"/nodes/pve1/lxc/{vmid}/status/start")


def address_of_running(lab: Lab, vmid: int) -> str:
    found = wait_until(lambda: (container(lab.inventory(), vmid) or {}).get("address"))
    return str(found)


def call_proxmox(lab: Lab, method: str, path: str, **data: str) -> None:
    """Send a request with Hostwright's token."""
    proxmox_address = Addresses(lab.block).proxmox
    token = f"hostwright@pve!lab={lab.secrets['proxmox_token']}"
    with httpx.Client(verify=tls_context(lab), trust_env=False, timeout=30) as client:
        answer = client.request(
            method, f"https://{proxmox_address}:8006/api2/json{path}", data=data,
            headers={"Authorization": f"PVEAPIToken={token}"},
        )  # fmt: skip
    assert answer.is_success, answer.text


def test_lab_names_what_is_missing_for_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    command = [sys.executable, "-m", "orchestrator.lab", "--state-dir", str(tmp_path), "--guests", "lxc"]
    without_lxc = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": str(tmp_path)}, check=False, timeout=60
    )
    assert without_lxc.returncode == 1
    assert without_lxc.stderr.strip().splitlines()[-1] == (
        "lab: containers as guests need the packages dnsmasq-base, iproute2, lxc: `make lab-setup` installs them"
    )
