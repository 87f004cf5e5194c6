"""`make bench`: measures every figure and writes bench/results/*.json."""

import argparse

from bench import delay, growth, orders, stream, throughput
from bench.figures import print_figures, write_results
from bench.site import describe_circumstances, run_stack
from orchestrator.processes import stop
from orchestrator.settings import PROJECT_DIR

TARGETS = {
    "order_vs_ansible_speed0": ("at most", 1.15),
    "order_vs_ansible_default": ("at most", 1.05),
    "cpu_seconds_per_order": ("at most", 2.0),
    "post_vs_floor": ("at least", 0.7),
    "get_vs_bare": ("at least", 0.7),
    "event_to_get_p99_ms": ("at most", 100.0),
}
RESULTS = PROJECT_DIR / "bench" / "results" / "latest.json"


def _measure(rounds: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    print("orders without the lab's delays")
    with run_stack(0) as stack:
        figures["order_vs_ansible_speed0"], figures["cpu_seconds_per_order"] = orders.measure(stack, rounds)
        stop(stack.children.pop("worker"), 15)
        figures["event_to_get_p99_ms"] = delay.measure(stack, rounds)
        print("requests")
        figures |= throughput.measure(stack.run["databaseUrl"])
    print("orders at real durations")
    with run_stack(1) as stack:
        figures["order_vs_ansible_default"], _ = orders.measure(stack, max(3, rounds // 2))
    return figures


def main() -> None:
    """Measure, print a table that marks missed targets, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="orders per comparison (default 9)")
    figures = _measure(parser.parse_args().rounds)
    print()
    print_figures(figures, TARGETS)
    results = describe_circumstances() | {"figures": {name: round(figures[name], 3) for name in TARGETS}}
    write_results(RESULTS, results)
    stream.run()
    growth.report(growth.run())


if __name__ == "__main__":
    main()
