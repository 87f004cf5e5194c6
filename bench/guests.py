"""`make bench-guests`: measures each phase on process guests and on containers, and writes bench/results/guests.json.

It needs root and `make lab-setup`. Both kinds of guests run in turn on one machine, without the lab's delays.
"""

import argparse
import statistics
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from bench.figures import write_results
from bench.site import ORDER, describe_circumstances, run_stack, wait_for_end
from orchestrator.cli.client.api import Client
from orchestrator.cli.run.stack import Stack
from orchestrator.settings import PROJECT_DIR

RESULTS = PROJECT_DIR / "bench" / "results" / "guests.json"
GUESTS = ("process", "lxc")

Durations = dict[str, list[float]]


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of each phase, of a whole order and of a whole teardown, by the kind of guests."""
    seen: dict[str, Durations] = {guests: {} for guests in GUESTS}
    with ExitStack() as opened:
        stacks = {guests: opened.enter_context(run_stack(0, guests=guests)) for guests in GUESTS}
        for number in range(rounds + 1):
            for guests, stack in stacks.items():
                found = _time_order(stack)
                print(f"  {guests:8} {found['order in all']:.2f} s", flush=True)
                if number:  # the first round warms up
                    for name, seconds in found.items():
                        seen[guests].setdefault(name, []).append(seconds)
    return {guests: {name: statistics.median(all_) for name, all_ in found.items()} for guests, found in seen.items()}


def _time_order(stack: Stack) -> dict[str, float]:
    client = Client(stack.run["url"], stack.run["customerToken"])
    ordered = client.request("POST", "/api/instances", body=ORDER)
    provision = wait_for_end(client, ordered["operationId"])
    assert provision["status"] == "succeeded", provision["error"]
    deleted = client.request("DELETE", f"/api/instances/{ordered['serverId']}")
    return _read_durations("order", provision) | _read_durations(
        "teardown", wait_for_end(client, deleted["operationId"])
    )


def _read_durations(name: str, operation: dict[str, Any]) -> dict[str, float]:
    phases = {phase["name"]: phase["durationMs"] / 1000 for phase in operation["phases"] if phase["durationMs"]}
    return phases | {f"{name} in all": sum(phases.values())}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.guests", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="orders on each (default 7)")
    seconds = measure(parser.parse_args().rounds)
    results = describe_circumstances() | {"date": datetime.now(UTC).date().isoformat(), "seconds": seconds}
    write_results(RESULTS, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
