"""A few rows of `make chaos` on a faster lab, so that a broken promise is seen with every change."""

from dataclasses import replace

import pytest

from tests.chaos.campaign import Result, chosen, run_group
from tests.chaos.marks import Marks
from tests.chaos.report import line
from tests.chaos.scenarios import GROUPS

SPEED = 0.3
ROWS = {
    "worker": ("kill-worker-at-wait-for-ip", "kill-worker-at-delete-container"),
    "others": ("kill-postgres-at-complete", "kill-api-at-clone-container", "queue-emptied"),
    "cancel": ("cancel-at-clone-container", "cancel-at-wait-for-agent-terminal-state"),
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_keeps_its_promises_when(rows: tuple[str, ...]) -> None:
    groups = chosen(GROUPS, lambda name: name in rows)
    scenarios = tuple(row for group in groups for row in group.scenarios)
    assert {row.name for row in scenarios} == set(rows)
    group = replace(groups[0], scenarios=scenarios, plan=replace(groups[0].plan, speed=SPEED), parallel=1)
    results: list[Result] = []
    with Marks() as marks:
        run_group(group, marks, results.append)
    assert [line(result) for result in results if not result.kept] == []
    assert len(results) == len(rows) + 1
