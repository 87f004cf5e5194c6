"""Rows that a newer release wrote: they are passed over and shown as they are, and everybody else's go on (case A1)."""

import json
import logging
from typing import Any
from uuid import UUID

import psycopg
import pytest

from orchestrator.domain.states import OperationStatus
from orchestrator.domain.updates import PublicationsRecorded
from orchestrator.store import accounts, leases, reads, sweep
from orchestrator.store.connection import Database
from tests.support import storage
from tests.support.fix_api import running_api
from tests.support.fix_database import CUSTOMER, fresh_database
from tests.support.fix_stack import GAME

STEP = {"name": "defragment", "status": "pending", "message": None}
CLEANING = {"status": "running", "steps": [STEP], "leaked": []}
PAUSED = {"status": "paused", "steps": [STEP | {"name": "stop-container", "status": "paused"}], "leaked": []}
LOST_CLEANING = "status = 'cleaning', lease_expires_at = now() - interval '1 s'"

# What a newer release may have written into a queued operation.
CHANGES: dict[str, str] = {
    "kind": "kind = 'reboot'",
    "phase": "phase = 'warm-up', attempt = 1",
    "step of its cleanup": f"{LOST_CLEANING}, cleanup = '{json.dumps(CLEANING)}'",
    "status of a step": f"{LOST_CLEANING}, cleanup = '{json.dumps(PAUSED)}'",
    "status of its cleanup": f"""{LOST_CLEANING}, cleanup = '{json.dumps(PAUSED | {"steps": []})}'""",
    "code of its error": f"""{LOST_CLEANING}, error = '{{"code": 7, "message": "x"}}'""",
    "phase of its error": f"""{LOST_CLEANING}, error = '{{"code": "internal", "phase": "warm-up", "message": "x"}}'""",
}


def write_newer(database: Database, operation_id: UUID, change: str) -> None:
    if "cleaning" in change:
        storage.query(database, "update operation set status = 'running' where id = %s", operation_id)
    storage.query(database, f"update operation set {change} where id = %s", operation_id)  # noqa: S608  # our own text
    # Its customer was served longest ago, so that it is its turn.
    storage.query(database, "update customer set served_at = null")


@pytest.mark.parametrize("what", CHANGES)
def test_case_a1_passes_a_row_over_that_it_cannot_read(
    database: Database, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    newer = storage.place(database).operation_id
    other = storage.place(database).operation_id
    write_newer(database, newer, CHANGES[what])
    claimant = storage.claimant()
    with caplog.at_level(logging.WARNING):
        claimed = leases.claim_next(database, claimant)
        assert claimed is not None
        assert claimed.operation.id == other
        assert leases.claim_next(database, claimant) is None
        assert leases.claim_next(database, claimant) is None
    told = [record.message for record in caplog.records if str(newer) in record.message]
    assert len(told) == 1
    row = storage.query(database, "select fencing_token, attempt from operation where id = %s", newer)
    assert row[0][0] == 0, "it was not taken"


def test_case_a1_passes_over_what_has_a_past_phase_that_it_cannot_undo(database: Database) -> None:
    newer = storage.start(database)
    leases.hand_over(database, newer)
    storage.query(
        database,
        "insert into operation_phase (operation_id, name, status, started_at) values (%s, 'warm-up', 'ok', now())",
        newer.operation_id,
    )
    assert leases.claim_next(database, storage.claimant()) is None
    assert storage.operation(database, newer.operation_id).status is OperationStatus.QUEUED


def test_case_a1_says_in_one_line_what_it_cannot_read_and_quotes_nothing(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    newer = storage.place(database).operation_id
    error = {"code": 7, "message": ["what an agent said"]}
    write_newer(database, newer, f"{LOST_CLEANING}, error = '{json.dumps(error)}'")
    with caplog.at_level(logging.WARNING):
        assert leases.claim_next(database, storage.claimant()) is None
    (told,) = [record.message for record in caplog.records if str(newer) in record.message]
    assert "error.message" in told
    assert "\n" not in told
    assert "what an agent said" not in told


def test_case_a1_takes_a_row_that_a_newer_worker_has_moved_on(database: Database) -> None:
    newer = storage.place(database).operation_id
    storage.query(database, "update operation set phase = 'warm-up' where id = %s", newer)
    claimant = storage.claimant()
    assert leases.claim_next(database, claimant) is None
    storage.query(database, "update operation set phase = null, fencing_token = fencing_token + 2 where id = %s", newer)
    claimed = leases.claim_next(database, claimant)
    assert claimed is not None
    assert claimed.operation.id == newer


def test_case_a1_wakes_nobody_for_a_row_that_it_has_passed_over(database: Database) -> None:
    newer = storage.place(database).operation_id
    storage.query(database, "update operation set phase = 'warm-up' where id = %s", newer)
    storage.empty_queue(database)
    claimant = storage.claimant()

    def woken() -> list[UUID]:
        storage.query(database, "update operation set enqueued_at = now() - interval '1 hour'")
        return sweep.wake_forgotten(database, requeue_seconds=1, concurrency=1, passed_over=claimant.passed_over)

    assert woken() == [newer]
    storage.empty_queue(database)
    assert leases.claim_next(database, claimant) is None
    assert woken() == []


def test_case_a1_reads_publications_with_columns_of_a_newer_release(server_url: str, template: str) -> None:
    with fresh_database(server_url, "columns", template=template) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter table publication add column ttl integer default 60")
        database = Database(url)
        database.open()
        try:
            accounts.ensure_customer(database, CUSTOMER)
            lease = storage.start(database)
            leases.record(database, lease, [PublicationsRecorded((storage.PUBLICATION,))])
            leases.hand_over(database, lease)
            claimed = leases.claim_next(database, storage.claimant())
            assert claimed is not None
            assert claimed.publications == (storage.PUBLICATION,)
        finally:
            database.close()


def test_case_a1_sweeps_what_it_knows_and_leaves_the_rest(database: Database) -> None:
    newer, other = storage.start(database).operation_id, storage.start(database).operation_id
    storage.query(database, "update operation set kind = 'reboot', losses = 1 where id = %s", newer)
    for operation_id in (newer, other):
        storage.expire(database, operation_id)
    assert storage.swept(database).lost == [other]
    assert storage.operation(database, newer).status is OperationStatus.RUNNING


def test_case_a1_lists_rows_as_they_are(server_url: str, template: str) -> None:
    with fresh_database(server_url, "newer", template=template) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter type operation_status add value 'paused'")
            connection.execute("alter type instance_status add value 'hibernating'")
            connection.execute("alter table operation disable trigger operation_transition")
            connection.execute("alter table instance disable trigger instance_transition")
        with running_api(url) as api:
            customer = api.customer()
            newer = customer.order(GAME, Idempotency_Key="newer")
            known = customer.order(GAME, Idempotency_Key="known")
            change = "update operation set kind = 'reboot', status = 'paused', phase = 'warm-up' where id = %s"
            api.query(change, newer["operationId"])
            api.query("update instance set status = 'hibernating' where id = %s", newer["serverId"])
            listed = {
                each["operationId"]: each for each in customer.get("/api/instances/operations").json()["operations"]
            }
            assert set(listed) == {newer["operationId"], known["operationId"]}
            seen = listed[newer["operationId"]]
            assert (seen["kind"], seen["status"], seen["phase"]) == ("reboot", "paused", "warm-up")
            shown: dict[str, Any] = customer.operation(newer["operationId"])
            assert (shown["kind"], shown["phases"]) == ("reboot", [])
            assert "cancel" not in shown["links"]
            servers = customer.get("/api/instances").json()["instances"]
            assert [server["status"] for server in servers] == ["hibernating", "provisioning"]
            assert api.http.get("/readyz").status_code in (200, 503)


def test_case_a1_shows_members_that_it_does_not_know_of_no_row(server_url: str, template: str) -> None:
    with fresh_database(server_url, "members", template=template) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter type billing_state add value 'on_trial'")
            connection.execute("alter table audit add column agent text default 'x'")
        with running_api(url) as api:
            customer, operator = api.customer(), api.caller(None)
            order = customer.order(GAME)
            step = STEP | {"reason": "x"}
            api.query(
                "update operation set error = %s, cleanup = %s where id = %s",
                json.dumps({"code": "too-cold", "message": "it freezes", "phase": "warm-up", "remedy": "x"}),
                json.dumps({"status": "paused", "steps": [step], "leaked": [], "tries": 2}),
                order["operationId"],
            )
            api.query("update customer set billing_state = 'on_trial' where id = %s", customer.customer_id)
            (listed,) = customer.get("/api/instances/operations").json()["operations"]
            shown = customer.operation(order["operationId"])
            assert listed["error"] == shown["error"]
            assert shown["error"]["code"] == "too-cold"
            assert (shown["cleanup"]["status"], shown["cleanup"]["steps"]) == ("paused", [STEP])
            assert operator.get("/api/audit").status_code == 200
            customers = {each["customerId"]: each for each in operator.get("/api/customers").json()["customers"]}
            assert customers[customer.customer_id]["billingState"] == "on_trial"

            assert customer.get("/api/instances").status_code == 200
            refused = customer.post(GAME)
            assert (refused.status_code, refused.json()["code"]) == (403, "customer-suspended")
            assert "this release does not know" in refused.json()["detail"]
            stopped = customer.request("POST", f"/api/instances/{order['serverId']}/stop")
            assert (stopped.status_code, stopped.json()["code"]) == (403, "customer-suspended")


def test_reads_the_words_that_it_knows_as_its_own(database: Database) -> None:
    row = reads.get_operation(database, storage.start(database).operation_id, None)
    assert row is not None
    assert isinstance(row.status, OperationStatus)
