"""Whose turn it is, and the limits over all workers, on a real PostgreSQL."""

from uuid import UUID

import psycopg
import pytest

from orchestrator.domain.models import Lease, OperationRow
from orchestrator.domain.operations import PROVISION
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import OperationStatus
from orchestrator.domain.updates import PublicationsRecorded, PublicationsStruck
from orchestrator.store import accounts, endings, leases, orders
from orchestrator.store.connection import Database
from orchestrator.store.leases import Claimant
from tests.support.storage import (
    FAILURE,
    at_once,
    claimant,
    expire,
    give_back,
    operation,
    order,
    place,
    query,
    queued,
    start,
    swept,
    try_claim,
)  # fmt: skip

ONE = claimant(concurrency=1)


def claim_next(database: Database, who: Claimant = ONE) -> OperationRow | None:
    claimed = leases.claim_next(database, who)
    return None if claimed is None else claimed.operation


def finish(database: Database, row: OperationRow) -> None:
    lease = Lease(operation_id=row.id, fencing_token=row.fencing_token)
    endings.complete(database, PROVISION, row.instance_id, lease, address=None)


def served(database: Database, count: int) -> list[UUID]:
    """The operations that are taken one after the other, each ended before the next."""
    found = []
    for _ in range(count):
        row = claim_next(database)
        assert row is not None
        found.append(row.id)
        finish(database, row)
    return found


def place_many(database: Database, customer: str, count: int) -> list[UUID]:
    accounts.ensure_customer(database, customer)
    accounts.update_customer(database, customer, max_instances=1000)
    return [orders.place_order(database, order(customer=customer)).operation_id for _ in range(count)]


# turns


def test_takes_turns_between_customers(database: Database) -> None:
    many = place_many(database, "many", 5)
    few = place_many(database, "few", 2)
    assert served(database, 7) == [many[0], few[0], many[1], few[1], *many[2:]]


def test_takes_the_customer_with_the_fewest_running_first(database: Database) -> None:
    many = place_many(database, "many", 3)
    three = claimant(concurrency=3)
    assert [claim_next(database, three), claim_next(database, three)] != [None, None]
    few = place_many(database, "few", 1)
    row = claim_next(database, three)
    assert row is not None
    assert row.id == few[0]
    assert operation(database, many[2]).status is OperationStatus.QUEUED


def test_takes_what_was_interrupted_before_what_is_new(database: Database) -> None:
    first = place(database).operation_id
    place_many(database, "other", 1)
    lost = claim_next(database)
    assert lost is not None
    assert lost.id == first
    expire(database, first)
    swept(database)
    again = claim_next(database)
    assert again is not None
    assert (again.id, again.attempt) == (first, 2)


def test_takes_what_was_asked_for_before_work_of_our_own(database: Database) -> None:
    give_back(database, start(database), kept=True)
    query(database, "update instance set expires_at = now() - interval '1 second'")
    (own,) = swept(database).begun
    asked = place(database).operation_id
    assert served(database, 1) == [asked]
    row = claim_next(database)
    assert row is not None
    assert row.id == own


def test_tells_the_place_in_the_queue_as_the_turns_come(database: Database) -> None:
    many = place_many(database, "many", 4)
    few = place_many(database, "few", 2)
    places = {one: operation(database, one).queue_position for one in [*many, *few]}
    assert sorted(places, key=lambda one: places[one] or 0) == [many[0], few[0], many[1], few[1], *many[2:]]
    assert sorted(place or 0 for place in places.values()) == [1, 2, 3, 4, 5, 6]


# limits


@pytest.mark.parametrize("concurrency", [1, 3])
def test_holds_the_limit_over_all_workers(database: Database, concurrency: int) -> None:
    place_many(database, "many", 8)
    taken = at_once(8, lambda number: claim_next(database, claimant(worker=f"w{number}", concurrency=concurrency)))
    assert len([row for row in taken if row is not None]) == concurrency


def test_frees_a_place_when_an_operation_ends_or_its_lease_runs_out(database: Database) -> None:
    place_many(database, "many", 3)
    first = claim_next(database)
    assert first is not None
    assert claim_next(database) is None
    finish(database, first)
    second = claim_next(database)
    assert second is not None
    assert claim_next(database) is None
    expire(database, second.id)
    assert claim_next(database) is not None


def test_holds_the_limit_of_a_node(database: Database) -> None:
    place_many(database, "many", 4)
    here, there = (claimant(node=node, node_concurrency=1) for node in ("pve1", "pve2"))
    assert claim_next(database, here) is not None
    assert claim_next(database, here) is None
    assert claim_next(database, there) is not None
    assert claim_next(database, there) is None


# what is never claimed


def test_never_provisions_what_is_provisioned(database: Database) -> None:
    row = operation(database, start(database).operation_id)
    finish(database, row)
    query(
        database,
        "insert into operation (id, instance_id, customer_id, kind, ctype, spec, request_id, request_hash) "
        "select gen_random_uuid(), instance_id, customer_id, 'provision', ctype, spec, request_id, '' from operation",
    )
    assert claim_next(database) is None
    other = place(database).operation_id
    taken = claim_next(database)
    assert taken is not None
    assert taken.id == other, "what cannot be claimed stands in nobody's way"


# handing over


def test_hands_an_operation_over_without_counting_a_loss(database: Database) -> None:
    lease = start(database)
    query(database, "delete from huey_task")
    leases.hand_over(database, lease)
    row = operation(database, lease.operation_id)
    assert (row.status, row.losses, row.vmid) == (OperationStatus.QUEUED, 0, row.vmid)
    assert queued(database) == [lease.operation_id]
    again = try_claim(database, lease.operation_id)
    assert again is not None
    assert again.attempt == 2


def test_hands_a_cleaning_operation_over_as_it_is(database: Database) -> None:
    lease = start(database)
    endings.begin_cleaning(database, lease, FAILURE)
    leases.hand_over(database, lease)
    row = try_claim(database, lease.operation_id)
    assert row is not None
    assert (row.status, row.error) == (OperationStatus.CLEANING, FAILURE)


def test_knows_in_which_order_the_publications_were_recorded(database: Database, database_url: str) -> None:
    plan = [Publication(driver, "x", "A", "mc.lab", "192.0.2.1") for driver in ("c", "a", "b")]
    lease = start(database)
    leases.record(database, lease, [PublicationsRecorded(tuple(plan))])
    leases.record(database, lease, [PublicationsStruck((plan[0],))])
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("vacuum publication")  # the place of the row that was struck out is free
    leases.record(database, lease, [PublicationsRecorded((plan[0],))])
    leases.hand_over(database, lease)
    claimed = leases.claim_next(database, claimant())
    assert claimed is not None
    assert claimed.publications == (*plan[1:], plan[0])


def test_case_b7_what_is_put_off_is_taken_when_it_is_due_and_counts_no_attempt(database: Database) -> None:
    lease = start(database)
    for _ in range(3):
        leases.put_off(database, lease, 3600, "waiting: slow down")
        assert leases.claim_next(database, claimant()) is None
        query(database, "update operation set due_at = now() - interval '1 second'")
        claimed = leases.claim_next(database, claimant())
        assert claimed is not None
        assert (claimed.operation.attempt, claimed.operation.due_at) == (2, None)
        assert claimed.left_seconds > 3600
        lease = Lease(operation_id=lease.operation_id, fencing_token=claimed.operation.fencing_token)
