"""Orders, quotas and what is asked of instances that are there, on a real PostgreSQL."""

from contextlib import closing
from uuid import uuid4

import pytest
from psycopg._queries import MAX_CACHED_STATEMENT_LENGTH

from bench.rehearsal import Rehearsal
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.operations import PROVISION, TEARDOWN
from orchestrator.domain.states import OperationStatus
from orchestrator.sql import QUERIES
from orchestrator.store import accounts, endings, orders, reads, requests
from orchestrator.store.connection import Database
from tests.support.fix_database import CUSTOMER
from tests.support.storage import (
    at_once,
    claim,
    empty_queue,
    everything,
    give_back,
    instance,
    operation,
    order,
    place,
    provision,
    query,
    queued,
    start,
)

# orders and teardowns


def test_writes_an_order_with_its_message_or_nothing(database: Database) -> None:
    placed = place(database)
    row = operation(database, placed.operation_id)
    assert (row.status, row.kind, row.fencing_token) == (OperationStatus.QUEUED, PROVISION.name, 0)
    assert row.instance_id == placed.instance_id
    assert instance(database, placed.instance_id).active_operation == placed.operation_id
    assert queued(database) == [placed.operation_id]
    before = everything(database)
    query(database, "alter table huey_task add constraint full_up check (false) not valid")
    with pytest.raises(Exception, match="full_up"):
        place(database)
    assert everything(database) == before


@pytest.mark.usefixtures("database")
def test_writes_an_order_in_one_statement(database_url: str) -> None:
    with closing(Rehearsal(database_url)) as rehearsal, rehearsal.attempt():
        place(rehearsal)
        assert {name: len(seconds) for name, seconds in rehearsal.seconds.items()} == {"place_order": 1}
    # A longer text is parsed anew for each order, which costs a twentieth of the API's CPU.
    assert len(QUERIES["place_order"]) <= MAX_CACHED_STATEMENT_LENGTH


def test_keeps_the_quota_under_concurrent_orders_of_one_customer(database: Database) -> None:
    accounts.update_customer(database, CUSTOMER, max_instances=50, max_memory_mib=7 * 1024, max_cpu_cores=500)

    def attempt(_: int) -> str:
        try:
            return orders.place_order(database, order(memory_mib=1024)).kind
        except Problem as problem:
            return str(problem.code)

    outcomes = [outcome for some in at_once(8, lambda _: [attempt(number) for number in range(3)]) for outcome in some]
    assert outcomes.count("accept") == 7
    assert outcomes.count(ProblemCode.QUOTA_EXCEEDED) == 24 - 7
    assert len(reads.list_instances(database, customer_id=CUSTOMER)) == 7


def test_makes_one_operation_of_concurrent_orders_with_one_key(database: Database) -> None:
    placed = at_once(8, lambda _: orders.place_order(database, order("the-key")))
    assert len({(one.operation_id, one.instance_id, one.request_id) for one in placed}) == 1
    assert sorted(one.kind for one in placed) == ["accept", *["replay"] * 7]
    assert queued(database) == [placed[0].operation_id]


def test_gives_a_failed_instance_back_to_the_quota(database: Database) -> None:
    accounts.update_customer(database, CUSTOMER, max_instances=1)
    lease = start(database)
    with pytest.raises(Problem, match="instances"):
        place(database)
    give_back(database, lease)
    place(database)


def test_refuses_an_order_of_an_unknown_customer(database: Database) -> None:
    with pytest.raises(Problem, match="no customer nobody"):
        orders.place_order(database, order(customer="nobody"))


def test_places_one_teardown_however_often_it_is_asked(database: Database) -> None:
    ready = provision(database)
    empty_queue(database)
    placed = at_once(
        6, lambda _: requests.place(database, TEARDOWN, server_id=ready.id, vmid=None, customer_id=CUSTOMER)
    )
    assert len(set(placed)) == 1
    assert placed[0] is not None
    assert queued(database) == [placed[0][0]]
    row = operation(database, placed[0][0])
    assert (row.kind, row.vmid, row.hostname, row.customer_id) == (
        TEARDOWN.name, ready.vmid, ready.hostname, CUSTOMER,
    )  # fmt: skip


def test_finds_the_instance_to_tear_down_by_its_vmid(database: Database) -> None:
    ready = provision(database)
    placed = requests.place(database, TEARDOWN, server_id=None, vmid=ready.vmid, customer_id=CUSTOMER)
    assert placed is not None
    assert placed[1] == ready.id


def test_tears_down_nothing_that_is_unknown_or_somebody_elses(database: Database) -> None:
    ready = provision(database)
    before = everything(database)
    assert requests.place(database, TEARDOWN, server_id=uuid4(), vmid=None, customer_id=None) is None
    assert requests.place(database, TEARDOWN, server_id=None, vmid=1, customer_id=None) is None
    assert requests.place(database, TEARDOWN, server_id=ready.id, vmid=None, customer_id="somebody-else") is None
    assert everything(database) == before


def test_refuses_a_teardown_while_the_instance_is_being_made(database: Database) -> None:
    placed = place(database)
    with pytest.raises(Problem) as refused:
        requests.place(database, TEARDOWN, server_id=placed.instance_id, vmid=None, customer_id=CUSTOMER)
    assert refused.value.code is ProblemCode.INSTANCE_BUSY
    assert refused.value.extra == {"operationId": str(placed.operation_id)}


def test_tears_down_a_failed_instance(database: Database) -> None:
    lease = start(database)
    instance_id = operation(database, lease.operation_id).instance_id
    give_back(database, lease)
    placed = requests.place(database, TEARDOWN, server_id=instance_id, vmid=None, customer_id=CUSTOMER)
    assert placed is not None
    endings.complete(database, TEARDOWN, instance_id, claim(database, placed[0]))
    assert reads.deleted_at(database, instance_id, CUSTOMER) is not None
