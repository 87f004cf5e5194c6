"""What the API tells people who look: what was ordered, how it is reached, why it waits, and what a cancel ended."""

from typing import Any

import pytest

from orchestrator.domain.models import CANCELLED, Cleanup
from orchestrator.domain.operations import PROVISION
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import PhaseStatus
from orchestrator.domain.updates import PhaseEntered, PhasesClosed, PublicationsRecorded
from orchestrator.store import endings, leases
from orchestrator.store.endings import Undone
from tests.support.fix_api import Api, Caller, lease_of
from tests.support.fix_stack import DEV, GAME


@pytest.fixture
def customer(api: Api) -> Caller:
    return api.customer()


def publish(zone: str, edge: str) -> tuple[Publication, ...]:
    """The records of a game server in a zone."""
    host, srv = f"mc.{zone}", f"_minecraft._tcp.mc.{zone}"
    return (
        Publication("technitium", f"x/{zone}", "A", host, edge),
        Publication("technitium", f"x/{zone}", "SRV", srv, f"0 5 25565 {host}"),
    )


def make_ready(api: Api, caller: Caller, order: dict[str, Any], *published: Publication) -> dict[str, Any]:
    """An order that is ready; returns its instance as it is shown."""
    accepted = caller.order(order)
    row = api.claim(accepted["operationId"])
    api.name(row)
    leases.record(api.database, lease_of(row), [PublicationsRecorded(published)])
    endings.complete(api.database, PROVISION, row.instance_id, lease_of(row), address="127.0.0.9")
    found: dict[str, Any] = caller.get(f"/api/instances/{accepted['serverId']}").json()
    (listed,) = caller.get("/api/instances").json()["instances"]
    assert listed == found
    return found


def test_case_e7_names_the_runtime_or_the_game_of_an_operation(customer: Caller) -> None:
    names = ("game", "variant", "runtime", "version")
    for order, told in ((DEV, (None, None, "python", "3.12")), (GAME, ("minecraft", "vanilla", None, "1.21.7"))):
        operation = customer.operation(customer.order(order)["operationId"])
        assert tuple(operation[name] for name in names) == told
        (listed,) = [
            each
            for each in customer.get("/api/instances/operations").json()["operations"]
            if each["operationId"] == operation["operationId"]
        ]
        assert tuple(listed[name] for name in names) == told


@pytest.mark.parametrize(
    ("edges", "zone"),
    [
        ({"lab.internal": "10.0.0.5"}, "lab.internal"),
        ({"lab.internal": "127.1.0.5", "lab.example": "127.2.0.5"}, "lab.example"),
        ({"game.example": "8.8.8.8", "lab.internal": "10.0.0.5"}, "game.example"),
    ],
    ids=["one zone", "no public edge", "a public edge"],
)
def test_case_e8_says_where_players_join_a_ready_server(
    api: Api, customer: Caller, edges: dict[str, str], zone: str
) -> None:
    records = [record for name, edge in edges.items() for record in publish(name, edge)]
    found = make_ready(api, customer, GAME, *records)
    assert found["join"] == {"address": f"mc.{zone}", "port": 25565, "srv": f"_minecraft._tcp.mc.{zone}"}
    assert found["editor"] is None


def test_case_e8_says_where_the_editor_of_a_ready_dev_container_is(api: Api, customer: Caller) -> None:
    found = make_ready(api, customer, DEV)
    assert found["editor"]["url"] == "http://127.0.0.9:6000/"
    assert "no password" in found["editor"]["signIn"]
    assert found["join"] is None


def test_case_e8_says_nothing_where_nothing_is_to_be_reached(api: Api, customer: Caller) -> None:
    found = make_ready(api, customer, DEV | {"enableCodeServer": False})
    assert (found["join"], found["editor"]) == (None, None)
    waiting = api.customer()
    accepted = waiting.order(DEV)
    shown = waiting.get(f"/api/instances/{accepted['serverId']}").json()
    assert (shown["join"], shown["editor"]) == (None, None)


def test_case_e12_shows_the_phase_that_a_cancel_ended_as_cancelled(api: Api, customer: Caller) -> None:
    row = api.claim(customer.order(GAME)["operationId"])
    lease = lease_of(row)
    api.name(row)
    leases.record(api.database, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "cloning")])
    customer.request("POST", f"/api/instances/operations/{row.id}/cancel")
    leases.record(api.database, lease, [PhasesClosed(PhaseStatus.FAILED)])
    assert "failed" not in {phase["status"] for phase in customer.operation(str(row.id))["phases"]}
    endings.begin_cleaning(api.database, lease, CANCELLED)
    leases.record(api.database, lease, [PhaseEntered(Phase.DELETE_CONTAINER, "deleting")])
    leases.record(api.database, lease, [PhaseEntered(Phase.STOP_CONTAINER, "stopping")])
    cleanup = Cleanup(status=PhaseStatus.OK)
    undone = Undone(PROVISION, cleanup, attend_seconds=1, quarantine_seconds=1, cancelled=True)
    endings.finish_undone(api.database, row.instance_id, lease, undone)
    operation = customer.operation(str(row.id))
    statuses = {phase["name"]: phase["status"] for phase in operation["phases"]}
    assert operation["status"] == "cancelled"
    assert statuses["allocate-vmid"] == "ok"
    assert statuses["clone-container"] == "cancelled"
    assert statuses["delete-container"] == "ok"


def test_case_e14_says_why_an_operation_waits(api: Api, customer: Caller) -> None:
    with api.database.transaction() as connection:
        connection.execute("delete from worker")
    order = customer.order(GAME)["operationId"]
    assert customer.operation(order)["queueReason"] == "no worker is running"
    with api.database.transaction() as connection:
        connection.execute("insert into worker (id) values ('w')")
    said = customer.operation(order)
    behind = said["queuePosition"] > 1
    assert said["queueReason"] == ("others are before it" if behind else "it begins when a worker has room")
    api.claim(order)
    assert customer.operation(order)["queueReason"] is None
