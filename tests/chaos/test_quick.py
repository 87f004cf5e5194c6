"""A few rows of `make chaos` on a faster lab, so that every change is checked for broken promises."""

from tests.chaos.campaign import Result, run_group, select_groups
from tests.chaos.marks import Marks
from tests.chaos.report import format_line
from tests.chaos.scenarios import GROUPS, Group
from tests.chaos.site import Plan

PLAN = Plan(speed=0.1, settings={"HOSTWRIGHT_LEASE_SECONDS": "3"})
ROWS = (
    "kill-worker-at-publish-edge",
    "kill-postgres-at-complete",
    "kill-worker-at-unpublish-edge",
    "cancel-at-clone-container",
)


def test_keeps_its_promises_when_parts_are_killed() -> None:
    rows = {row.name: row for group in select_groups(GROUPS, lambda name: name in ROWS) for row in group.scenarios}
    results: list[Result] = []
    with Marks() as marks:
        run_group(Group("quick", tuple(rows[name] for name in ROWS), PLAN), marks, results.append)
    assert [format_line(result) for result in results if not result.kept] == []
    assert [result.name for result in results] == [*ROWS, "end of quick"]
