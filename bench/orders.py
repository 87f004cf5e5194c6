"""Compares an order through the API with the bare playbook with the same variables, in turn on one lab."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from bench.site import ORDER, wait_for_end
from orchestrator.cli.client.api import Client
from orchestrator.cli.run.stack import Stack
from orchestrator.settings import PROJECT_DIR

_BARE_VMID = 5900


def measure(stack: Stack, rounds: int) -> tuple[float, float]:
    """Return the median ratio of the wall times, and the median CPU seconds of an order.

    The CPU seconds are those of worker, API, database and all their children. The lab stands for the outside world and
    does not count.
    """
    ratios, cpu = [], []
    for number in range(rounds + 1):
        ours, used = _time_order(stack)
        bare = _time_bare(stack)
        if number:  # the first round warms up
            ratios.append(ours / bare)
            cpu.append(used)
            print(f"  order {ours:.2f} s against {bare:.2f} s bare, ratio {ours / bare:.3f}, {used:.2f} CPU s")
    return statistics.median(ratios), statistics.median(cpu)


def _time_order(stack: Stack) -> tuple[float, float]:
    """Return wall and CPU seconds from the order to its end. The teardown is not counted."""
    client = Client(stack.run["url"], stack.run["customerToken"])
    before, start = _read_cpu_seconds(stack), time.perf_counter()
    order = client.request("POST", "/api/instances", body=ORDER)
    operation = wait_for_end(client, order["operationId"])
    elapsed, used = time.perf_counter() - start, _read_cpu_seconds(stack) - before
    assert operation["status"] == "succeeded", operation["error"]
    wait_for_end(client, client.request("DELETE", f"/api/instances/{order['serverId']}")["operationId"])
    return elapsed, used


def _time_bare(stack: Stack) -> float:
    state_dir = stack.settings.state_dir
    variables = {
        "vmid": _BARE_VMID, "hostname": f"mc-vanilla-{_BARE_VMID}", "ctype": "game", "game": "minecraft",
        "variant": "vanilla", "version": "1.21.7", "world": "world", "env": {},
        "memory_mib": 2048, "cpu_cores": 2, "disk_gib": 8,
    }  # fmt: skip
    path = state_dir / "bare.json"
    path.write_text(json.dumps(variables))
    start = time.perf_counter()
    _play_bare("provision", path, state_dir)
    elapsed = time.perf_counter() - start
    _play_bare("teardown", path, state_dir)
    return elapsed


def _play_bare(playbook: str, variables: Path, state_dir: Path) -> None:
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        [str(binaries / "ansible-playbook"), f"playbooks/{playbook}.yml", "-e", f"@{variables}"],
        cwd=PROJECT_DIR,
        env=os.environ | {"HOSTWRIGHT_STATE_DIR": str(state_dir), "PATH": f"{binaries}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def _read_cpu_seconds(stack: Stack) -> float:
    """Return the CPU seconds of worker, API and database until now, with those of all their children."""
    roots = [stack.children["worker"].pid, stack.children["api"].pid]
    if stack.postgres_pid is not None:
        roots.append(stack.postgres_pid)
    total = 0.0
    for root in map(psutil.Process, roots):
        for process in (root, *root.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
