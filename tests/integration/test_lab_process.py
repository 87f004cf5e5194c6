"""The lab as a process: how it starts, what it writes, what it refuses, and how it ends."""

import hashlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.fix_lab import Lab, running_lab, tls_context


def run_lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a lab that must give up at once."""
    command = [sys.executable, "-m", "orchestrator.lab", *arguments]
    cwd = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=cwd)


def test_lab_writes_where_it_listens_and_no_secret(lab: Lab) -> None:
    assert set(lab.urls) == {
        "proxmoxUrl",
        "internalDns",
        "publicDns",
        "technitiumUrl",
        "cloudflareUrl",
        "velocityUrl",
        "edgeAddress",
        "mcRouterUrl",
        "mcRouterAddress",
        "controlUrl",
    }
    names = {"proxmox_token", "technitium_token", "cloudflare_token", "velocity_secret"} | {
        "agent_token",
        "agent_master_secret",
    }
    assert names | {"rfc2136_key"} <= set(lab.secrets)
    named = [entry["secret"] for entry in (*lab.site["dns"], lab.site["proxy"], lab.site["agent"])]
    assert set(named) <= set(lab.secrets)
    readable = [path for path in (lab.state_dir / "lab").glob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert {path.name for path in readable} >= {"lab.json", "site.json", "ca.pem"}
    for path in readable:
        content = path.read_bytes()
        assert b"PRIVATE KEY" not in content
        assert not any(secret.encode() in content for secret in lab.secrets.values()), path


def call_proxmox(lab: Lab, method: str, path: str, **data: object) -> Any:
    """Send a request below the node, with the lab's token and over verified TLS."""
    site = lab.site["proxmox"]
    token = f"PVEAPIToken={site['user']}!{site['token_name']}={lab.secrets['proxmox_token']}"
    url = f"{lab.urls['proxmoxUrl']}/api2/json/nodes/{site['node']}{path}"
    with httpx.Client(verify=tls_context(lab), trust_env=False, headers={"Authorization": token}) as client:
        response = client.request(method, url, data=data or None)
    assert response.status_code == 200, response.text
    return response.json()["data"]


def run_task(lab: Lab, path: str, **data: object) -> None:
    """Start a task and wait until it has succeeded."""
    upid = call_proxmox(lab, "POST", path, **data)
    ended = wait_for(
        lambda: call_proxmox(lab, "GET", f"/tasks/{upid}/status"), lambda task: task["status"] == "stopped"
    )
    assert ended["exitstatus"] == "OK"


def wait_for(read: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """Read until the value is good, and return it."""
    deadline = time.monotonic() + 20
    while not good(value := read()):
        assert time.monotonic() < deadline, value
        time.sleep(0.02)
    return value


def start_container(lab: Lab, vmid: int) -> dict[str, Any]:
    run_task(lab, f"/lxc/{lab.site['templates']['game']}/clone", newid=vmid, hostname=f"mc-{vmid}", full=1)
    run_task(lab, f"/lxc/{vmid}/status/start")
    return container(lab, vmid)


def container(lab: Lab, vmid: int) -> dict[str, Any]:
    return next(entry for entry in lab.inventory()["containers"] if entry["vmid"] == vmid)


def register(lab: Lab, name: str, address: str, port: int) -> None:
    header = {"X-Zpack-Secret": hashlib.sha256(lab.secrets["velocity_secret"].encode()).hexdigest()}
    body = {"server_name": name, "address": address, "port": port}
    answer = httpx.post(f"{lab.urls['velocityUrl']}/zpack/register", json=body, headers=header, trust_env=False)
    assert answer.status_code == 200, answer.text


def add_record(lab: Lab, name: str, address: str) -> None:
    params = {"domain": name, "type": "A", "ipAddress": address, "ttl": "60", "token": lab.secrets["technitium_token"]}
    with httpx.Client(verify=tls_context(lab), trust_env=False) as client:
        answer = client.post(f"{lab.urls['technitiumUrl']}/api/zones/records/add", data=params).json()
    assert answer["status"] == "ok", answer


def test_second_lab_of_a_directory_refuses(lab: Lab) -> None:
    second = run_lab("--state-dir", str(lab.state_dir))
    assert second.returncode == 1
    assert second.stderr.startswith("lab: another lab already runs in ")
    assert len(second.stderr.splitlines()) == 1
    assert lab.inventory()


def test_lab_with_a_taken_block_refuses(lab: Lab, tmp_path: Path) -> None:
    refused = run_lab("--state-dir", str(tmp_path), "--block", str(lab.block))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"lab: cannot listen on 127.{lab.block}.0.7:8900: it is taken")


def test_lab_with_one_taken_port_names_it_and_leaves_nothing(tmp_path: Path) -> None:
    with running_lab(tmp_path, speed=0) as first:
        free = first.block
    with socket.create_server((f"127.{free}.0.5", 25565)):
        refused = run_lab("--state-dir", str(tmp_path), "--block", str(free))
    assert refused.returncode == 1
    assert f"cannot listen on 127.{free}.0.5:25565" in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "lab" / "lab.json").exists()


def test_lab_without_a_writable_directory_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = run_lab("--state-dir", str(tmp_path / "file"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("lab: cannot write to the state directory")


@pytest.mark.parametrize("arguments", [("--speed", "-1"), ("--speed", "fast"), ("--block", "1"), ("--block", "256")])
def test_lab_with_bad_arguments_refuses(tmp_path: Path, arguments: tuple[str, str]) -> None:
    refused = run_lab("--state-dir", str(tmp_path), *arguments)
    assert refused.returncode == 2
    assert arguments[0] in refused.stderr.splitlines()[-1]


def test_two_labs_run_side_by_side(lab: Lab, tmp_path: Path) -> None:
    with running_lab(tmp_path, speed=0) as other:
        assert other.block != lab.block
        assert other.secrets["proxmox_token"] != lab.secrets["proxmox_token"]


def test_restarted_lab_keeps_secrets_authority_records_and_addresses_but_no_registration(
    tmp_path: Path,
) -> None:
    with running_lab(tmp_path, speed=0) as first:
        authority = first.ca_file.read_bytes()
        add_record(first, "kept.lab.internal", "10.0.0.9")
        records = first.inventory()["records"]
    with running_lab(tmp_path, speed=0) as second:
        assert second.inventory()["records"] == records
        assert [entry["name"] for entry in records] == ["kept.lab.internal"]
        assert second.inventory()["registrations"] == []
        assert (second.urls, second.secrets) == (first.urls, first.secrets)
        assert second.ca_file.read_bytes() == authority


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_lab_ends_on_a_signal_and_takes_lab_json_away(tmp_path: Path, ending: signal.Signals) -> None:
    lab_file = tmp_path / "lab" / "lab.json"
    with running_lab(tmp_path, speed=0, ending=ending):
        assert lab_file.exists()
    assert not lab_file.exists()


# the guests


def test_running_container_is_a_process_that_ends_with_the_lab_and_comes_back(tmp_path: Path) -> None:
    with running_lab(tmp_path, speed=0) as first:
        started = start_container(first, 5000)
        assert [(p["pid"], p["vmid"]) for p in first.inventory()["processes"]] == [(started["pid"], 5000)]
        guest = psutil.Process(started["pid"])
        assert guest.is_running()
        assert started["address"].split(".")[:2] == ["127", str(first.block)]
    assert not guest.is_running()
    with running_lab(tmp_path, speed=0) as second:
        again = container(second, 5000)
        assert (again["status"], again["address"]) == ("running", started["address"])
        assert again["pid"] not in (None, started["pid"])


def test_guests_die_with_a_lab_that_is_killed(tmp_path: Path) -> None:
    with running_lab(tmp_path, speed=0, ending=signal.SIGKILL) as killed:
        guest = psutil.Process(start_container(killed, 5000)["pid"])
    assert not guest.is_running()
    with running_lab(tmp_path, speed=0) as second:
        assert container(second, 5000)["status"] == "running"


def test_agent_wants_the_token_that_the_site_names(lab: Lab) -> None:
    address = start_container(lab, 7901)["address"]
    url = f"http://{address}:{lab.site['agent']['port']}/status"

    def status(headers: dict[str, str]) -> int:
        try:
            return httpx.get(url, headers=headers, trust_env=False).status_code
        except httpx.ConnectError:
            return 0

    token = lab.secrets[lab.site["agent"]["secret"]]
    wait_for(lambda: status({"Authorization": f"Bearer {token}"}), lambda code: code == 200)
    assert status({}) == 401


# the control API


def test_control_places_a_foreign_container(lab: Lab) -> None:
    lab.place_foreign(7900, "somebody-elses")
    placed = [c for c in lab.inventory()["containers"] if c["vmid"] == 7900]
    assert [c["hostname"] for c in placed] == ["somebody-elses"]
    assert lab.control("POST", "/containers", {"vmid": 7900, "hostname": "again"}).status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/faults", {}, "target"),
        ("POST", "/faults", {"target": "moon"}, "target"),
        ("POST", "/faults", {"target": ["dns"]}, "target"),
        ("POST", "/faults", [], "body"),
        ("POST", "/faults", {"target": "technitium"}, "status"),
        ("POST", "/faults", {"target": "technitium", "status": "error", "times": 0}, "times"),
        ("POST", "/faults", {"target": "technitium", "status": "error", "speling": 1}, "speling"),
        ("POST", "/faults", {"target": "cloudflare", "httpStatus": 200}, "httpStatus"),
        ("POST", "/faults", {"target": "dns", "rcode": "NOSUCH"}, "rcode"),
        ("POST", "/faults", {"target": "velocity", "hang": -1}, "hang"),
        ("POST", "/faults", {"target": "agent", "behaviour": "sing"}, "behaviour"),
        ("POST", "/faults", {"target": "agent", "behaviour": "die", "vmid": "5000"}, "vmid"),
        ("POST", "/faults", {"target": "proxmox", "times": 1}, "status"),
        ("POST", "/faults", {"target": "proxmox", "error": "delay"}, "seconds"),
        ("POST", "/faults", {"target": "proxmox", "error": "hang", "seconds": "long"}, "seconds"),
        ("POST", "/faults", {"target": "proxmox", "status": "500"}, "status"),
        ("POST", "/faults", {"target": "agent", "behaviour": "die", "back": -1}, "back"),
        ("POST", "/proxmox/restart", {}, "seconds"),
        ("POST", "/proxy/away", {"seconds": True}, "seconds"),
        ("GET", "/history?after=x", None, "after"),
        ("PUT", "/speed", {}, "speed"),
        ("PUT", "/speed", {"speed": -1}, "speed"),
        ("PUT", "/speed", {"speed": True}, "speed"),
        ("POST", "/containers", {"hostname": "x"}, "vmid"),
        ("POST", "/containers", {"vmid": 99, "hostname": "x"}, "vmid"),
        ("POST", "/containers", {"vmid": 7901, "hostname": "a b"}, "hostname"),
    ],
)
def test_control_names_the_bad_field(clean_lab: Lab, method: str, path: str, body: object, field: str) -> None:
    response = clean_lab.control(method, path, body)
    assert response.status_code == 400
    assert response.json()["field"] == field
    assert response.json()["error"].startswith(f"{field}: ")


def test_control_sets_the_speed(lab: Lab) -> None:
    lab.set_speed(0.5)
    lab.set_speed(0)


def test_proxmox_is_away_while_it_restarts(lab: Lab) -> None:
    lab.restart_proxmox(3)
    with pytest.raises(httpx.ConnectError):
        call_proxmox(lab, "GET", "/status")
    wait_for(lambda: is_reachable(lab.urls["proxmoxUrl"]), lambda reachable: reachable)
    assert lab.inventory()["containers"]


def test_proxys_api_is_away_for_a_while_and_forgets_nothing(lab: Lab) -> None:
    register(lab, "stays", "127.0.0.1", 1)
    lab.take_proxy_away(60)
    lab.take_proxy_away(3)
    assert not is_reachable(lab.urls["velocityUrl"])
    wait_for(lambda: is_reachable(lab.urls["velocityUrl"]), lambda reachable: reachable)
    assert "stays" in [backend["name"] for backend in lab.inventory()["registrations"]]
    lab.restart_proxy()


def is_reachable(url: str) -> bool:
    """Whether a process listens there."""
    split = urlsplit(url)
    try:
        socket.create_connection((split.hostname or "", split.port or 0), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_dns_providers_fail_one_after_the_other(clean_lab: Lab) -> None:
    """Each provider has its own faults, and a fault is over when it was used."""
    urls = [
        f"{clean_lab.urls['technitiumUrl']}/api/zones/records/get",
        f"{clean_lab.urls['cloudflareUrl']}/zones/x/dns_records",
    ]
    clean_lab.fault(target="technitium", httpStatus=503, times=1)
    clean_lab.fault(target="cloudflare", httpStatus=503, times=1)
    with httpx.Client(verify=tls_context(clean_lab), trust_env=False) as client:
        assert [client.get(url).status_code for url in urls] == [503, 503]
        assert 503 not in [client.get(url).status_code for url in urls]


def test_history_tells_of_every_part_in_order(lab: Lab) -> None:
    before = lab.history()[-1]["seq"] if lab.history() else 0
    started = start_container(lab, 7910)
    lab.place_foreign(7911, "theirs")
    register(lab, "told", started["address"], 25565)
    lab.restart_proxy()
    add_record(lab, "told.lab.internal", "127.0.0.9")
    events = lab.history(before)
    assert [event["seq"] for event in events] == list(range(before + 1, before + 1 + len(events)))
    spelled = [(event["kind"], event.get("action") or event["path"].rpartition("/")[2]) for event in events]
    assert spelled == [
        ("proxmox", "clone"),
        ("guest", "start"),
        ("proxmox", "start"),
        ("control", "foreign"),
        ("proxy", "register"),
        ("proxy", "restart"),
        ("dns", "put"),
    ]
    assert {event["vmid"] for event in events[:3]} == {7910}
    assert (events[-1]["view"], events[-1]["name"]) == ("internal", "told.lab.internal")
