"""Fixtures: the lab as a real process of its own."""

import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Lab:
    """A running lab: where it listens, its site data and secrets, and its control API."""

    state_dir: Path
    pid: int
    urls: dict[str, str]
    site: dict[str, Any]
    secrets: dict[str, str] = field(repr=False)

    @property
    def block(self) -> int:
        """N of its addresses 127.N.0.0/16."""
        return int(self.urls["controlUrl"].split(".")[1])

    @property
    def ca_file(self) -> Path:
        return self.state_dir / "lab" / "ca.pem"

    def control(self, method: str, path: str, body: object = None) -> httpx.Response:
        """The control API's answer, whatever its status."""
        with httpx.Client(base_url=self.urls["controlUrl"], trust_env=False, timeout=30) as client:
            return client.request(method, path, json=body)

    def inventory(self) -> dict[str, list[dict[str, Any]]]:
        inventory: dict[str, list[dict[str, Any]]] = self._done("GET", "/inventory").json()
        return inventory

    def fault(self, **fault: Any) -> None:
        self._done("POST", "/faults", fault)

    def unmet_faults(self) -> list[dict[str, Any]]:
        """The faults that nothing has met yet, and so had no effect. Those of agents are left out."""
        found: list[dict[str, Any]] = self._done("GET", "/faults/unmet").json()["faults"]
        return found

    def clear_faults(self) -> None:
        self._done("DELETE", "/faults")

    def set_speed(self, speed: float) -> None:
        self._done("PUT", "/speed", {"speed": speed})

    def place_foreign(self, vmid: int, hostname: str) -> None:
        self._done("POST", "/containers", {"vmid": vmid, "hostname": hostname})

    def restart_proxmox(self, seconds: float) -> None:
        self._done("POST", "/proxmox/restart", {"seconds": seconds})

    def take_proxy_away(self, seconds: float) -> None:
        self._done("POST", "/proxy/away", {"seconds": seconds})

    def history(self, after: int = 0) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self._done("GET", f"/history?after={after}").json()["events"]
        return events

    def restart_proxy(self) -> None:
        self._done("POST", "/proxy/restart")

    def _done(self, method: str, path: str, body: object = None) -> httpx.Response:
        response = self.control(method, path, body)
        assert response.is_success, response.text
        return response


def tls_context(lab: Lab) -> ssl.SSLContext:
    """Trusts the lab's own authority and nobody else."""
    return ssl.create_default_context(cafile=str(lab.ca_file))


@contextmanager
def running_lab(
    state_dir: Path,
    *,
    speed: float,
    arguments: tuple[str, ...] = (),
    ending: signal.Signals = signal.SIGTERM,
) -> Iterator[Lab]:
    """Starts a lab and waits until it is ready; at the end it has to exit 0 and leave no process."""
    command = [sys.executable, "-m", "orchestrator.lab", "--state-dir", str(state_dir), "--speed", str(speed)]
    log_path, lab_file = state_dir / "lab.log", state_dir / "lab" / "lab.json"
    lab_file.unlink(missing_ok=True)  # a lab that was killed leaves it
    with log_path.open("ab") as log:
        process = subprocess.Popen([*command, *arguments], stdout=log, stderr=log, cwd=Path(__file__).parents[2])
    try:
        _wait_ready(process, lab_file, log_path)
        yield describe_lab(state_dir, process.pid)
        _stop(process, ending, log_path)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _stop(process: subprocess.Popen[bytes], ending: signal.Signals, log_path: Path) -> None:
    """Asserts exit code 0 (the signal's for a kill) and that every process the lab had is gone."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(ending)
    code = process.wait(STOP_SECONDS)
    expected = -signal.SIGKILL if ending == signal.SIGKILL else 0
    assert code == expected, f"the lab exited {code}:\n{log_path.read_text()}"
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive, f"the lab left processes: {alive}"


def _wait_ready(process: subprocess.Popen[bytes], lab_file: Path, log_path: Path) -> None:
    """The lab writes lab.json last."""
    deadline = time.monotonic() + START_SECONDS
    while not lab_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the lab does not start:\n{log_path.read_text()}")
        time.sleep(0.02)


def describe_lab(state_dir: Path, pid: int) -> Lab:
    files = {name: json.loads((state_dir / "lab" / name).read_text()) for name in ("lab.json", "site.json")}
    secrets = json.loads((state_dir / "lab" / "secrets.json").read_text())
    return Lab(state_dir, pid, files["lab.json"], files["site.json"], secrets)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab without delays, shared by the session's tests."""
    with running_lab(tmp_path_factory.mktemp("lab"), speed=0) as running:
        yield running


@pytest.fixture(scope="session")
def slow_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with real durations."""
    with running_lab(tmp_path_factory.mktemp("slow-lab"), speed=1) as running:
        yield running


@pytest.fixture
def clean_lab(lab: Lab) -> Iterator[Lab]:
    """The lab for a test that injects faults: they are cleared afterwards."""
    yield lab
    lab.clear_faults()
