"""A publish that a name service or the proxy puts off: its machine is kept, and it goes on by itself."""

import json
import time
from typing import Any
from uuid import UUID

import pytest

from orchestrator.domain.errors import Code
from orchestrator.domain.models import OperationRow
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import InstanceStatus, OperationStatus, PhaseStatus
from orchestrator.store import requests
from tests.integration.test_worker import QUICK, Site, site, tear_down
from tests.support import storage
from tests.support.fix_database import CUSTOMER

__all__ = ["site"]

GAME = {"ctype": "game", "game": "minecraft", "variant": "vanilla", "runtime": None, "version": "1.20.4"}
SOON = QUICK | {"requeue_seconds": "0.2", "phase_timeouts": json.dumps({"publish-edge": 4})}
LIMITED: dict[str, Any] = {"target": "cloudflare", "httpStatus": 429, "code": 971, "message": "Slow down"}


def put_off(site: Site, operation_id: UUID) -> OperationRow:
    site.wait(lambda: site.operation(operation_id).due_at is not None)
    return site.operation(operation_id)


def test_case_b7_a_publish_that_is_put_off_keeps_the_machine(site: Site) -> None:
    site.lab.fault(**LIMITED, retryAfter=6, times=1)
    with site.worker(**SOON):
        operation_id = site.order(**GAME)
        waiting = put_off(site, operation_id)
        assert waiting.vmid in site.containers()
        assert (waiting.status, waiting.losses, waiting.error) == (OperationStatus.QUEUED, 0, None)
        assert waiting.queue_position is None
        assert {phase.name: phase.status for phase in waiting.phases or ()}[Phase.PUBLISH_EDGE] is PhaseStatus.PENDING
        assert storage.instance(site.database, waiting.instance_id).status is InstanceStatus.PROVISIONING
        assert waiting.due_at is not None
        assert waiting.deadline_at is not None
        other = site.finish(site.order())
        assert other.status is OperationStatus.SUCCEEDED, "the others do not wait for it"
        done = site.finish(operation_id)
        assert (done.status, done.vmid, done.attempt, done.due_at) == (OperationStatus.SUCCEEDED, waiting.vmid, 2, None)
        assert done.deadline_at == waiting.deadline_at
        tear_down(site, operation_id)
        tear_down(site, other.id)


def test_case_b7_a_publish_that_is_put_off_can_be_cancelled_at_once(site: Site) -> None:
    site.lab.fault(**LIMITED, retryAfter=600)
    with site.worker(**SOON):
        operation_id = site.order(**GAME)
        vmid = put_off(site, operation_id).vmid
        site.lab.clear_faults()
        began = time.monotonic()
        assert requests.place_cancel(site.database, operation_id, CUSTOMER)
        assert site.finish(operation_id).status is OperationStatus.CANCELLED
        assert time.monotonic() - began < 20
        assert vmid not in site.containers()


@pytest.mark.parametrize("within", ["0", "30"])
def test_case_b7_a_publish_is_put_off_for_no_longer_than_the_site_says(site: Site, within: str) -> None:
    site.lab.fault(**LIMITED, retryAfter=40, times=1)
    with site.worker(**SOON, publish_within_seconds=within):
        failed = site.finish(site.order(**GAME))
    assert failed.status is OperationStatus.FAILED
    assert failed.error is not None
    assert failed.error.code is Code.DNS_FAILED
    assert "longer than this phase may wait" in failed.error.message
    assert failed.error.pause is not None
    assert 30 < failed.error.pause <= 40
    assert failed.vmid not in site.containers()
