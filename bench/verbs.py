"""Verbs of the store as the benchmark of growth tries them: lists, reads, orders, accounts and sweeps.

Those of a worker are in bench/errands.py. Together they run every query but those that UNMEASURED names.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from bench.pile import BIG, LATE
from orchestrator.domain.admission import Demand
from orchestrator.domain.billing import BillingState
from orchestrator.domain.models import AuditEntry, Limits
from orchestrator.store import accounts, audit, billing_events, orders, publications, reads, requests, sweep
from orchestrator.store.connection import Database
from orchestrator.store.queries import read_rows

Verb = Callable[[Database], object]
"""What is tried, again and again within one transaction, on the same pile."""

UNMEASURED = {
    "prune_audit": "run by hand, and takes as long as what it deletes; it reads the audit log once",
    "allow_retention": "only sets a parameter, before prune_audit",
    "export_snapshot": "reads no table",
    "list_tables": "reads only the schema, for back-ups",
    "list_migrations": "reads a row for each migration",
    "list_objects": "reads only the schema, for back-ups",
    "count_sessions": "reads only who is connected",
}
"""Why a named query does not grow, or may."""

SMALL = "c5"
"""A customer with few servers and operations."""
ASKED: tuple[dict[str, str], ...] = (
    {},
    {"status": "failed"},
    {"status": "cancelled"},
    {"status": "queued"},
    {"status": "succeeded"},
    {"kind": "stop"},
    {"kind": "start"},
    {"kind": "stop", "status": "failed"},
    {"kind": "provision", "status": "failed"},
)
"""What a list of operations may be asked for, rare and frequent."""
_PAGE = 51
"""The rows of a usual page, and one that tells whether there is another."""
_LONG_PAGE = 1000
"""The rows of the predecessor's list."""


def list_verbs() -> dict[str, Verb]:
    """Lists, each for an operator, for the customer with half of everything and for one with little."""
    verbs: dict[str, Verb] = {}
    for customer in (None, BIG, SMALL):
        whose = customer or "all"
        owned: dict[str, Any] = {"customer_id": customer, "limit": _PAGE}
        for asked in ASKED:
            what = " ".join(f"{name}={value}" for name, value in asked.items()) or "everything"
            verbs[f"operations, {what}, {whose}"] = partial(_read_two_pages, reads.list_operations, asked | owned)
        for leaked in (False, True):
            name = f"{'leaked ' if leaked else ''}instances, {whose}"
            verbs[name] = partial(_read_two_pages, reads.list_instances, {"leaked": leaked} | owned)
        verbs[f"the predecessor's list, {whose}"] = partial(reads.list_servers, customer_id=customer, limit=_LONG_PAGE)
        verbs[f"the audit log, {whose}"] = partial(_read_audit, owned)
        verbs[f"tokens, {whose}"] = partial(accounts.list_tokens, customer_id=customer)
    return verbs | {"customers": _read_customers, "the newest of each type": reads.newest_ready}


def _read_customers(database: Database) -> None:
    last = accounts.list_customers(database, limit=_PAGE)[-1]
    accounts.list_customers(database, after=last.id, limit=_PAGE)
    assert accounts.get_customer(database, BIG) is not None


def _read_audit(asked: dict[str, Any], database: Database) -> None:
    last = audit.list_entries(database, **asked)[-1]
    audit.list_entries(database, after=last.seq, **asked)


def _read_two_pages(read: Callable[..., list[Any]], asked: dict[str, Any], database: Database) -> None:
    """Read the first page of a list, and the one after it."""
    rows = read(database, **asked)
    if rows:
        read(database, after=rows[-1].id, **asked)


def read_verbs() -> dict[str, Verb]:
    """Reads of one thing."""
    return {"polling an operation": _poll, "an instance": _read_instance, "what holds the workers": _read_workers}


def _poll(database: Database) -> None:
    operation = reads.list_operations(database, customer_id=BIG, status="succeeded", limit=1)[0]
    for customer in (None, BIG):
        read = reads.get_operation(database, operation.id, customer)
        assert read is not None
        assert len(read.phases or ()) > 1
    assert len(reads.list_events(database, operation.id)) > 1
    queued = reads.list_operations(database, customer_id=None, status="queued", limit=1)[0]
    reads.get_operation(database, queued.id, None)


def _read_instance(database: Database) -> None:
    instance = reads.list_instances(database, customer_id=BIG, limit=1)[0]
    reads.get_instance(database, server_id=instance.id, vmid=None, customer_id=BIG)
    reads.get_instance(database, server_id=None, vmid=instance.vmid, customer_id=BIG)
    reads.deleted_at(database, instance.id, BIG)
    assert accounts.set_proxy_status(database, instance.hostname or "", "proxy_ping_ok")
    publications.list_unrecorded(database)
    publications.record_earlier(database, instance.id, [])


def _read_workers(database: Database) -> None:
    sweep.worker_seen(database, "worker")
    sweep.live_workers(database)
    read_rows(database, "list_live_leases")
    sweep.worker_gone(database, "worker")


def order_verbs() -> dict[str, Verb]:
    """Orders, new and repeated."""
    return {
        "an order": partial(place, BIG),
        "an order that is kept when it fails": _place_kept,
        "an order of a small customer": partial(place, SMALL),
        "an order that is repeated": _repeat,
    }


def place(customer_id: str, database: Database, *, key: str | None = None, keep: bool = False) -> orders.Placed:
    """Place an order with its line in the audit log, and wake the workers."""
    demand = Demand(key or uuid4().hex, b"", "game", 2048, 2, keep=keep, body_hash=b"body")
    line = AuditEntry(principal="portal", method="POST", route="/api/instances", status=202)
    placed = orders.place_order(database, orders.Order(customer_id, demand, {"version": "1.21.7"}), line)
    orders.wake_workers(database)
    return placed


def _place_kept(database: Database) -> None:
    placed = place(BIG, database, keep=True)
    assert requests.place_cancel(database, placed.operation_id, BIG)  # few may be kept at once


def _repeat(database: Database) -> None:
    key = uuid4().hex
    assert place(SMALL, database, key=key).kind == "accept"
    assert place(SMALL, database, key=key).kind == "replay"
    assert orders.find_replay(database, SMALL, key, b"body") is not None


def account_verbs() -> dict[str, Verb]:
    """Tokens, customers and what the billing system says."""
    return {"tokens and customers": _administer}


def _administer(database: Database) -> None:
    row, token = accounts.issue_token(database, name="portal", customer_id=SMALL)
    assert accounts.find_principal(database, token) is not None
    accounts.note_token_uses(database, {row.id: "192.0.2.1"}, at_most_every=60)
    accounts.revoke_token(database, row.id)
    accounts.ensure_customer(database, SMALL)
    accounts.update_customer(database, SMALL, max_instances=9, quotas={"game": Limits(instances=9)})
    accounts.billing_state(database, SMALL)
    event = {"customer_id": SMALL, "state": BillingState.ACTIVE, "occurred_at": datetime.now(UTC)}
    billing_events.apply(database, event_id=str(uuid4()), **event)  # type: ignore[arg-type]
    audit.record(database, AuditEntry(principal="portal", method="POST", route="/api/tokens"))


def sweep_verbs() -> dict[str, Verb]:
    """Every sweep of a worker, when there is nothing to do and when there is something."""
    return {"sweeps": _sweep, "sweeps of a customer that is stopped": _sweep_stopped}


def _sweep(database: Database) -> list[UUID]:
    return [
        *sweep.rescue_lost(database, attend_seconds=60),
        *sweep.expire_overdue(database, queue_seconds=1800, quarantine_seconds=86400),
        *sweep.cancel_unwanted(database),
        *sweep.attend_leftovers(database),
        *sweep.wake_forgotten(database, requeue_seconds=30, concurrency=4),
    ]


def _sweep_stopped(database: Database) -> None:
    assert reads.list_instances(database, customer_id=LATE, limit=1)
    accounts.update_customer(database, SMALL, billing_state=BillingState.SUSPENDED)
    _sweep(database)
    accounts.update_customer(database, SMALL, billing_state=BillingState.ACTIVE)
