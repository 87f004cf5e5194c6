"""The tests that are near a change: what leads to what, and what is told first."""

import pytest

from tests.support.neighbours import nearest

NEAR = {
    "orchestrator/store/leases.py": "tests/integration/test_store_leases.py",
    "orchestrator/sql/queries/leases.sql": "tests/integration/test_store_leases.py",
    "orchestrator/worker/duties/wake.py": "tests/integration/test_worker.py",
    "orchestrator/drivers/dns/rfc2136.py": "tests/unit/test_dns_drivers.py",
    "orchestrator/lab/names/zones.py": "tests/integration/test_lab_dns.py",
    "roles/publish_edge/tasks/main.yml": "tests/integration/test_roles_edge.py",
    "playbooks/phases/clone_container.yml": "tests/integration/test_roles_container.py",
    "plugins/action/edge_publish.py": "tests/integration/test_roles_edge.py",
    "agent/hostwright_agent.py": "tests/unit/test_agent.py",
}


@pytest.mark.parametrize("changed", NEAR)
def test_finds_the_tests_that_lead_to_a_change(changed: str) -> None:
    assert NEAR[changed] in nearest([changed], at_most=5)


def test_tells_changed_tests_first_and_slow_ones_only_then() -> None:
    found = nearest(["orchestrator/worker/loop.py", "tests/e2e/test_walk.py"], at_most=1000)
    assert found[:2] == ["tests/e2e/test_walk.py", "tests/integration/test_worker.py"]
    assert not [test for test in found[1:] if test.startswith(("tests/e2e", "tests/chaos"))]


def test_finds_nothing_for_what_no_test_knows() -> None:
    assert nearest(["nobody/knows.it"], at_most=5) == []
