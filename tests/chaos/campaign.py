"""Runs groups of scenarios, on several sites at the same time, and reports each row as it ends."""

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

from tests.chaos.customer import BrokenError
from tests.chaos.marks import Marks
from tests.chaos.scenarios import Group, Scenario
from tests.chaos.site import Plan, Site
from tests.chaos.stage import Stage, run_stage

SAID = 6
"""How many of the problems a row names. The others mostly follow from them."""


@dataclass(frozen=True)
class Result:
    """One row of the table."""

    name: str
    does: str
    expects: str
    seen: str
    seconds: float
    kept: bool


Tell = Callable[[Result], None]


def run_groups(groups: Iterable[Group], *, lanes: int, tell: Tell) -> list[Result]:
    """Run every group on a site of its own, at most `lanes` at once; returns the rows in the order they ended."""
    waiting: SimpleQueue[Group] = SimpleQueue()
    for group in sorted(groups, key=_estimate_seconds, reverse=True):
        waiting.put(group)
    results: list[Result] = []
    writing = threading.Lock()

    def keep(result: Result) -> None:
        with writing:
            results.append(result)
            tell(result)

    with Marks() as marks:
        threads = [threading.Thread(target=_run_lane, args=(waiting, marks, keep)) for _ in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return results


def select_groups(groups: Sequence[Group], fits: Callable[[str], bool]) -> list[Group]:
    """The groups with only those scenarios whose own name or whose group's name fits."""
    narrowed = [
        replace(group, scenarios=tuple(row for row in group.scenarios if fits(row.name) or fits(group.name)))
        for group in groups
    ]
    return [group for group in narrowed if group.scenarios]


def _estimate_seconds(group: Group) -> float:
    """Roughly how long a group takes. The longest one begins first."""
    return len(group.scenarios) / group.parallel * group.seconds


def _run_lane(waiting: "SimpleQueue[Group]", marks: Marks, keep: Tell) -> None:
    while True:
        try:
            group = waiting.get_nowait()
        except Empty:
            return
        run_group(group, marks, keep)


def run_group(group: Group, marks: Marks, keep: Tell, make_site: Callable[[Plan, str], Site] = Site) -> None:
    """Run a group on its site. In the end check all that is there, delete it, and check that nothing is left."""
    began, row = time.monotonic(), Scenario(f"group {group.name}", "", "", lambda stage: "")
    try:
        with run_stage(make_site(group.plan, group.name), marks) as stage:
            with ThreadPoolExecutor(group.parallel) as pool:
                for result in pool.map(lambda scenario: _run_scenario(scenario, stage), group.scenarios):
                    keep(result)
            keep(_run_end(group, stage))
    except Exception as error:  # noqa: BLE001 - a site that does not start is a row too, and the others go on
        keep(_make_result(row, began, f"{type(error).__name__}: {error}", kept=False))


def _run_end(group: Group, stage: Stage) -> Result:
    """Run the last row of a group."""
    row = Scenario(
        f"end of {group.name}",
        f"all that {len(stage.servers)} orders left, then everything deleted",
        "what customers have, then nothing",
        lambda stage: _judge_all(stage),
    )
    return _run_scenario(row, stage)


def _judge_all(stage: Stage) -> str:
    problems = stage.finish_all()
    there = sum(server.is_there for server in stage.servers)
    problems += stage.find_violations() + stage.clear_away()
    if problems:
        more = f"; and {len(problems) - SAID} more" if len(problems) > SAID else ""
        raise BrokenError("; ".join(problems[:SAID]) + more)
    return f"{there} servers, then nothing"


def _run_scenario(row: Scenario, stage: Stage) -> Result:
    began = time.monotonic()
    try:
        return _make_result(row, began, row.run(stage), kept=True)
    except BrokenError as error:
        said = str(error)
    except Exception:  # noqa: BLE001 - a defect of the suite must neither pass for a kept promise nor stop the others
        said = f"the suite itself failed: {traceback.format_exc(limit=-3)}"
    stage.site.kept = True
    return _make_result(row, began, f"{said} (see {stage.site.logs})", kept=False)


def _make_result(row: Scenario, began: float, seen: str, *, kept: bool) -> Result:
    return Result(row.name, row.does, row.expects, seen, time.monotonic() - began, kept)
