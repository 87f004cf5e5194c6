"""`python -m bench.growth`: times every query of the store on a database in which years have piled up.

It writes bench/results/growth.json, with the median milliseconds of each query in its slowest use, and fails when a
query takes too long or reads one of the growing tables from end to end. `make bench` does this too, and only says so.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg

from bench.errands import worker_verbs
from bench.figures import write_results
from bench.pile import pile_up
from bench.rehearsal import Rehearsal, find_scans
from bench.site import describe_circumstances, run_empty
from bench.verbs import Verb, account_verbs, list_verbs, order_verbs, read_verbs, sweep_verbs
from orchestrator.settings import PROJECT_DIR

RESULTS = PROJECT_DIR / "bench" / "results" / "growth.json"
OPERATIONS = 1_000_000
INSTANCES = 100_000
MOST_MS = 10.0
"""The most milliseconds that the median of a query may take."""
ROUNDS = 25
"""Times that each verb is tried. After the tenth PostgreSQL may use a plan that fits any parameters."""
NEVER_SCANNED = frozenset({"operation", "instance", "operation_event", "operation_phase"})
"""Tables of which no query may read all rows."""
_DETAILED = 100_000
"""Operations with phases and a log."""


@dataclass
class Findings:
    """The median milliseconds of each query in its slowest use, and the tables that it read from end to end."""

    figures: dict[str, float] = field(default_factory=dict)
    slowest: dict[str, str] = field(default_factory=dict)
    """The verb in which a query was slowest."""
    scans: set[str] = field(default_factory=set)

    def problems(self) -> list[str]:
        """What does not keep to the target, in a sentence each."""
        slow = [
            f"{name} takes {ms:.1f} ms in: {self.slowest[name]}" for name, ms in self.figures.items() if ms > MOST_MS
        ]
        return slow + sorted(self.scans)


def all_verbs() -> dict[str, Verb]:
    """Every verb that is tried, by what it does."""
    return list_verbs() | read_verbs() | order_verbs() | account_verbs() | sweep_verbs() | worker_verbs()


def measure(url: str) -> Findings:
    """Try every verb on a database that was filled. What they write is taken back."""
    findings = Findings()
    with closing(Rehearsal(url)) as rehearsal:
        for does, verb in all_verbs().items():
            _try_verb(rehearsal, does, verb, findings)
    return findings


def _try_verb(rehearsal: Rehearsal, does: str, verb: Verb, findings: Findings) -> None:
    with rehearsal.attempt():
        for _ in range(ROUNDS):
            verb(rehearsal)
        with rehearsal.explained():
            verb(rehearsal)
    for name, seconds in rehearsal.seconds.items():
        ms = statistics.median(seconds) * 1000
        if ms >= findings.figures.get(name, 0):
            findings.figures[name], findings.slowest[name] = ms, does
    for name, plans in rehearsal.plans.items():
        scanned = {table for plan in plans for table in find_scans(plan)} & NEVER_SCANNED
        findings.scans |= {f"{name} reads all of {table} in: {does}" for table in scanned}


@contextmanager
def run_grown(operations: int, instances: int) -> Iterator[str]:
    """The URL of a database of its own, filled to these sizes."""
    with run_empty() as url:
        with psycopg.connect(url) as connection:
            pile_up(connection, instances=instances, operations=operations, detailed=_DETAILED, tell=_tell)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("vacuum analyze")
        yield url


def _tell(line: str) -> None:
    print(f"  {line}", flush=True)


def run(operations: int = OPERATIONS, instances: int = INSTANCES) -> list[str]:
    """Measure, print the slowest queries and write the results. Returns what does not keep to the target."""
    print(f"growth: {operations:,} operations and {instances:,} instances")
    with run_grown(operations, instances) as url:
        findings = measure(url)
    slowest_first = sorted(findings.figures.items(), key=lambda item: -item[1])
    for name, ms in slowest_first[:15]:
        print(f"  {name:22} {ms:7.2f} ms  {findings.slowest[name]}")
    figures = {f"{name}_ms": round(ms, 3) for name, ms in slowest_first}
    write_results(RESULTS, describe_circumstances() | {"figures": figures})
    return findings.problems()


def report(problems: list[str]) -> None:
    """Print what does not keep to the target."""
    for problem in problems or ["every query keeps to the target"]:
        print(f"{'MISS' if problems else 'ok  '}  {problem}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--operations", type=int, default=OPERATIONS, help="finished operations (default %(default)s)")
    parser.add_argument("--instances", type=int, default=INSTANCES, help="servers (default %(default)s)")
    given = parser.parse_args()
    problems = run(given.operations, given.instances)
    report(problems)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
