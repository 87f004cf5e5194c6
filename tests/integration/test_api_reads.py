"""Watching operations, and reading, listing and deleting instances, over real HTTP."""

import threading
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from orchestrator.cli.client.api import Client
from orchestrator.domain import updates
from orchestrator.domain.operations import TEARDOWN
from orchestrator.domain.phases import Phase
from orchestrator.store import accounts, endings, leases, sweep
from tests.support.fix_api import Api, Caller, is_problem, lease_of, running_api
from tests.support.fix_stack import DEV, FINAL, GAME, Running
from tests.support.storage import FAILURE, LEAKED, allocate_vmid, give_back, operation, query

OPERATIONS = "/api/instances/operations"


@pytest.fixture
def customer(api: Api) -> Caller:
    return api.customer()


def order_many(caller: Caller, count: int) -> list[dict[str, Any]]:
    """Accepted orders, one after the other."""
    return [caller.order(GAME, Idempotency_Key=f"many-{number}") for number in range(count)]


def pages(caller: Caller, path: str, member: str) -> list[list[dict[str, Any]]]:
    """Every page of a list, by following `next`."""
    found, after = [], ""
    while True:
        body = caller.get(f"{path}{after}").json()
        found.append(body[member])
        if body["next"] is None:
            return found
        after = f"&after={body['next']}"


def comparable(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """All of an answer that a client can tell from another, but for the date."""
    return answer.status_code, answer.content, sorted(set(answer.headers.items()) - {("date", answer.headers["date"])})


def test_shows_a_queued_operation(customer: Caller) -> None:
    accepted = customer.order(GAME | {"env": {"SECRET": "hidden"}})
    operation = customer.operation(accepted["operationId"])
    assert {name: operation[name] for name in ("operationId", "requestId", "serverId")} == {
        name: accepted[name] for name in ("operationId", "requestId", "serverId")
    }
    assert (operation["kind"], operation["status"], operation["attempt"]) == ("provision", "queued", 0)
    assert (operation["ctype"], operation["variant"], operation["version"]) == ("game", "vanilla", "1.21.7")
    assert {phase["status"] for phase in operation["phases"]} == {"pending"}
    assert operation["queuePosition"] >= 1
    for name in (
        "phase",
        "vmid",
        "hostname",
        "heartbeatAt",
        "startedAt",
        "finishedAt",
        "deadlineAt",
        "error",
        "cleanup",
    ):
        assert operation[name] is None
    assert operation["request"] == {
        "ctype": "game", "game": "minecraft", "variant": "vanilla", "version": "1.21.7", "world": "world",
        "env": {"SECRET": "***"}, "memoryMiB": 2048, "cpuCores": 2, "diskGiB": 8, "onFailure": "cleanup",
    }  # fmt: skip
    path = f"{OPERATIONS}/{accepted['operationId']}"
    assert operation["links"] == {
        "self": path, "events": f"{path}/events", "stream": f"{path}/stream", "cancel": f"{path}/cancel",
        "instance": f"/api/instances/{accepted['serverId']}",
    }  # fmt: skip


def test_tells_times_in_utc_whatever_the_zone_of_the_database(api: Api, customer: Caller) -> None:
    accepted = customer.order(GAME)
    api.complete(accepted)
    operation = customer.operation(accepted["operationId"])
    assert api.query("select current_setting('timezone')") == [("UTC",)]
    begun = [phase for phase in operation["phases"] if phase["startedAt"]]
    times = [operation[name] for name in ("createdAt", "startedAt", "heartbeatAt", "finishedAt", "deadlineAt")]
    times += [phase[name] for phase in begun for name in ("startedAt", "finishedAt")]
    events = customer.get(f"{OPERATIONS}/{accepted['operationId']}/events").json()["events"]
    times += [event["at"] for event in events]
    instance = customer.get(f"/api/instances/{accepted['serverId']}").json()
    times += [instance["createdAt"], instance["readyAt"]]
    api.complete_teardown(customer.delete(f"/api/instances/{accepted['serverId']}").json())
    times.append(customer.get(f"/api/instances/{accepted['serverId']}").json()["deletedAt"])
    assert len(times) >= 12
    for moment in times:
        assert moment.endswith("Z")
        assert datetime.fromisoformat(moment).utcoffset() == timedelta(0)


def test_answers_304_while_nothing_has_changed(api: Api, customer: Caller) -> None:
    accepted = customer.order(GAME)
    path = f"{OPERATIONS}/{accepted['operationId']}"
    tags = [customer.get(path).headers["etag"]]
    same = customer.get(path, If_None_Match=tags[0])
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tags[0])
    row = api.claim(accepted["operationId"])
    tags.append(customer.get(path).headers["etag"])
    leases.record(api.database, lease_of(row), [updates.PhaseEntered(Phase.ALLOCATE_VMID, "choosing")])
    tags.append(customer.get(path).headers["etag"])
    assert allocate_vmid(api.database, lease_of(row), (5000, 5999)) is not None
    tags.append(customer.get(path).headers["etag"])
    leases.record(api.database, lease_of(row), [updates.PhaseEntered(Phase.WAIT_FOR_IP, "waiting")])
    leases.record(api.database, lease_of(row), [updates.Retried(Phase.WAIT_FOR_IP, 1)])
    tags.append(customer.get(path).headers["etag"])
    assert len(set(tags)) == len(tags)
    leases.heartbeat(api.database, lease_of(row), lease_seconds=600)
    assert customer.get(path, If_None_Match=tags[-1]).status_code == 304
    for old in tags[:-1]:
        assert customer.get(path, If_None_Match=old).status_code == 200


def test_waits_for_a_change_and_answers_at_once(api: Api, customer: Caller) -> None:
    accepted = customer.order(GAME)
    row = api.claim(accepted["operationId"])
    path = f"{OPERATIONS}/{accepted['operationId']}"
    for conditional in (False, True):
        tag = customer.get(path).headers["etag"]
        known = {"If_None_Match": tag} if conditional else {}
        timer = threading.Timer(
            0.3, leases.record, (api.database, lease_of(row), [updates.Logged(None, "info", "something happened")])
        )
        timer.start()
        began = time.monotonic()
        while (answer := customer.get(path, Prefer="wait=20", **known)).headers["etag"] == tag:
            pass  # the notification of an earlier change came only now
        assert 0.25 < time.monotonic() - began < 15
        timer.join()
        assert answer.status_code == 200
        assert answer.headers["preference-applied"] == "wait=20"


def test_answers_at_once_when_the_known_state_is_old_or_final(api: Api, customer: Caller) -> None:
    accepted = customer.order(GAME)
    path = f"{OPERATIONS}/{accepted['operationId']}"
    old = customer.get(path).headers["etag"]
    api.complete(accepted)
    for known in ({"If_None_Match": old}, {}):
        answer = customer.get(path, Prefer="wait=20", **known)
        assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
        assert answer.elapsed.total_seconds() < 5
    final = customer.get(path).headers["etag"]
    assert customer.get(path, Prefer="wait=20", If_None_Match=final).status_code == 304


def test_answers_after_the_time_asked_for_when_nothing_changes(customer: Caller) -> None:
    path = f"{OPERATIONS}/{customer.order(GAME)['operationId']}"
    tag = customer.get(path).headers["etag"]
    answer = customer.get(path, Prefer="wait=1", If_None_Match=tag)
    assert (answer.status_code, answer.headers["preference-applied"]) == (304, "wait=1")
    assert answer.elapsed.total_seconds() >= 1


def test_reads_events_without_gaps_and_in_pages(stack: Running) -> None:
    client = stack.customer()
    operation = stack.provision(client, DEV)
    path = f"{OPERATIONS}/{operation['operationId']}/events"
    whole = client.request("GET", path)
    numbers = [event["seq"] for event in whole["events"]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert whole["next"] == numbers[-1] >= 10
    assert next(event["phase"] for event in whole["events"] if event["phase"]) == "allocate-vmid"
    paged: list[dict[str, Any]] = []
    page = client.request("GET", f"{path}?limit=3")
    while page["events"]:
        paged += page["events"]
        page = client.request("GET", f"{path}?limit=3&after={page['next']}")
    assert paged == whole["events"]
    assert page["next"] == numbers[-1]
    stack.tear_down(client, operation["serverId"])


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/api/instances?limit=0", "limit"),
        ("/api/instances?limit=201", "limit"),
        ("/api/instances?limit=x", "limit"),
        ("/api/instances?limit=%EF%BC%92", "limit"),
        ("/api/instances?limit=", "limit"),
        ("/api/instances?after=x", "after"),
        (f"{OPERATIONS}?status=done", "status"),
        (f"{OPERATIONS}?kind=PROVISION", "kind"),
        (f"{OPERATIONS}?after=1", "after"),
        (f"{OPERATIONS}?limit=-1", "limit"),
        (f"{OPERATIONS}?customerId=a%00b", "customerId"),
        (f"{OPERATIONS}?customerId=%ED%A0%80", "customerId"),
        ("events?after=-1", "after"),
        ("events?after=99999999999999999999", "after"),
        ("events?limit=501", "limit"),
    ],
)
def test_names_a_bad_parameter(customer: Caller, path: str, parameter: str) -> None:
    if path.startswith("events"):
        path = f"{OPERATIONS}/{customer.order(GAME)['operationId']}/{path}"
    problem = is_problem(customer.get(path), 400, "invalid-request")
    assert [error["parameter"] for error in problem["errors"]] == [parameter]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_instances_in_the_order_of_their_orders(customer: Caller, limit: int) -> None:
    ordered = [accepted["serverId"] for accepted in order_many(customer, 7)]
    found = pages(customer, f"/api/instances?limit={limit}", "instances")
    assert [instance["serverId"] for page in found for instance in page] == ordered
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert 0 < len(found[-1]) <= limit


def test_pages_on_without_a_gap_when_the_last_one_is_deleted(api: Api, customer: Caller) -> None:
    ordered = order_many(customer, 4)
    first = customer.get("/api/instances?limit=2").json()
    last = ordered[1]
    assert first["next"] == last["serverId"]
    api.complete(last)
    api.complete_teardown(customer.delete(f"/api/instances/{last['serverId']}").json())
    second = customer.get(f"/api/instances?limit=2&after={first['next']}").json()
    assert [instance["serverId"] for instance in second["instances"]] == [each["serverId"] for each in ordered[2:]]


def test_pages_operations_newest_first(api: Api, customer: Caller) -> None:
    ordered = [accepted["operationId"] for accepted in order_many(customer, 5)]
    found = pages(customer, f"{OPERATIONS}?limit=2", "operations")
    assert [operation["operationId"] for page in found for operation in page] == ordered[::-1]
    api.claim(ordered[0])
    running = customer.get(f"{OPERATIONS}?status=running&kind=provision").json()["operations"]
    assert [operation["operationId"] for operation in running] == [ordered[0]]
    assert customer.get(f"{OPERATIONS}?kind=teardown").json() == {"operations": [], "next": None}


def test_lists_only_the_customers_own(api: Api, customer: Caller) -> None:
    own, other = customer.order(GAME), api.customer()
    foreign = other.order(GAME)
    operator = api.caller(None)
    for path, member, name in (("/api/instances", "instances", "serverId"), (OPERATIONS, "operations", "operationId")):
        assert [each[name] for each in customer.get(path).json()[member]] == [own[name]]
        everything = {each[name] for page in pages(operator, f"{path}?limit=200", member) for each in page}
        assert {own[name], foreign[name]} <= everything
        following = customer.get(f"{path}?after={foreign[name]}")
        unknown = customer.get(f"{path}?after={uuid4()}")
        assert comparable(following) == comparable(unknown)
    asked = f"{OPERATIONS}?customerId={other.customer_id}"
    assert [each["operationId"] for each in operator.get(asked).json()["operations"]] == [foreign["operationId"]]
    refused = customer.get(asked)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert customer.get(f"{OPERATIONS}?customerId={customer.customer_id}").json() == customer.get(OPERATIONS).json()


def test_answers_under_servers_too(api: Api, customer: Caller) -> None:
    answer = customer.request("POST", "/api/servers", json=GAME)
    assert answer.status_code == 202
    accepted = answer.json()
    for path in ("", f"/{accepted['serverId']}", f"/operations/{accepted['operationId']}", "/operations"):
        if path:
            assert customer.get(f"/api/servers{path}").content == customer.get(f"/api/instances{path}").content
    vmid = api.complete(accepted)
    deleted = customer.delete(f"/api/servers/{vmid}")
    assert deleted.status_code == 202
    assert customer.delete(f"/api/instances/{vmid}").content == deleted.content


def test_lists_servers_as_the_predecessor_did(api: Api, customer: Caller) -> None:
    ordering, ready = customer.order(DEV), customer.order(GAME)
    vmid = api.complete(ready)
    assert customer.get("/api/servers").json() == {
        "servers": [
            {
                "id": ordering["serverId"], "name": None, "category": "DEV", "runtime": "python", "flavor": None,
                "version": "3.12", "status": "provisioning",
            },
            {
                "id": str(vmid), "name": f"host-{vmid}", "category": "GAME", "runtime": None, "flavor": "vanilla",
                "version": "1.21.7", "status": "ready",
            },
        ]
    }  # fmt: skip


def test_lists_every_server_where_there_are_no_pages(api: Api) -> None:
    customer = api.customer(max_instances=60, max_memory_mib=10**6, max_cpu_cores=200)
    order_many(customer, 55)
    assert len(customer.get("/api/servers").json()["servers"]) == 55
    assert len(customer.get("/api/instances").json()["instances"]) == 50


def test_case_g3_lists_no_more_than_a_thousand_servers_at_once(api: Api) -> None:
    customer = api.customer()
    customer.order(DEV)
    assert "Link" not in customer.get("/api/servers").headers
    query(
        api.database,
        "insert into instance (id, customer_id, ctype, spec, memory_mib, cpu_cores, created_at) "
        "select gen_random_uuid(), customer_id, ctype, spec, memory_mib, cpu_cores, now() "
        "from instance, generate_series(1, 1000) where customer_id = %s",
        customer.customer_id,
    )
    first = customer.get("/api/servers")
    assert len(first.json()["servers"]) == 1000
    assert [len(page) for page in pages(customer, first.links["next"]["url"], "instances")] == [1]


def test_takes_a_vmid_for_the_id_of_a_live_instance(api: Api, customer: Caller) -> None:
    accepted = customer.order(GAME)
    by_id = f"/api/instances/{accepted['serverId']}"
    vmid = api.complete(accepted)
    assert customer.get(f"/api/instances/{vmid}").content == customer.get(by_id).content
    teardown = customer.delete(f"/api/instances/{vmid}").json()
    assert teardown["serverId"] == accepted["serverId"]
    api.complete_teardown(teardown)
    is_problem(customer.get(f"/api/instances/{vmid}"), 404, "not-found")
    is_problem(customer.get(by_id), 404, "deleted")


def test_cannot_tell_a_foreign_id_from_an_unknown_one(api: Api, customer: Caller) -> None:
    other = api.customer()
    alive, gone = other.order(GAME), other.order(DEV)
    vmid = api.complete(alive)
    api.complete(gone)
    api.complete_teardown(other.delete(f"/api/instances/{gone['serverId']}").json())
    unknown = uuid4()
    for foreign in (alive["serverId"], gone["serverId"], str(vmid), "999999999", "9999999999", "not-an-id", "%00"):
        for method in ("GET", "DELETE"):
            asked = customer.request(method, f"/api/instances/{foreign}")
            assert comparable(asked) == comparable(customer.request(method, f"/api/instances/{unknown}"))
            is_problem(asked, 404, "not-found")
    for path in ("", "/events"):
        asked = customer.get(f"{OPERATIONS}/{alive['operationId']}{path}")
        assert comparable(asked) == comparable(customer.get(f"{OPERATIONS}/{unknown}{path}"))
        is_problem(asked, 404, "not-found")
    waiting = customer.get(f"{OPERATIONS}/{alive['operationId']}", Prefer="wait=20")
    assert waiting.elapsed.total_seconds() < 5
    is_problem(waiting, 404, "not-found")
    assert other.get(f"/api/instances/{alive['serverId']}").json()["status"] == "ready"


def test_deletes_once_however_often_it_is_asked(api: Api, customer: Caller) -> None:
    accepted = customer.order(GAME)
    api.complete(accepted)
    path = f"/api/instances/{accepted['serverId']}"
    first = customer.delete(path)
    body = first.json()
    assert first.status_code == 202
    assert list(body) == ["operationId", "requestId", "serverId", "status", "phase", "statusUrl"]
    assert first.headers["location"] == body["statusUrl"] == f"{OPERATIONS}/{body['operationId']}"
    assert first.headers["retry-after"] == "1"
    assert customer.delete(path).content == first.content
    assert customer.get(path).json()["status"] == "deleting"
    assert customer.get(path).json()["activeOperationId"] == body["operationId"]
    row = api.claim(body["operationId"])
    assert customer.delete(path).json() == body | {"status": "running"}
    endings.complete(api.database, TEARDOWN, row.instance_id, lease_of(row))
    count = "select count(*) from operation where kind = 'teardown' and customer_id = %s"
    assert api.query(count, customer.customer_id) == [(1,)]


def test_tells_the_owner_when_it_was_deleted_and_nobody_else(stack: Running) -> None:
    client, other = stack.customer(), stack.customer()
    operation = stack.provision(client, DEV)
    path = f"/api/instances/{operation['serverId']}"
    teardown = stack.tear_down(client, operation["serverId"])

    def ask(method: str, token: str) -> httpx.Response:
        return httpx.request(
            method, stack.url + path, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30
        )

    for method in ("GET", "DELETE"):
        for token in (client.token, stack.operator_token):
            problem = is_problem(ask(method, token), 404, "deleted")
            deleted = datetime.fromisoformat(problem["deletedAt"])
            assert datetime.fromisoformat(teardown["startedAt"]) < deleted
            assert abs(datetime.fromisoformat(teardown["finishedAt"]) - deleted) < timedelta(seconds=5)
        assert "deletedAt" not in is_problem(ask(method, other.token), 404, "not-found")
    assert client.operation(operation["operationId"])["status"] in FINAL


def test_refuses_to_delete_what_is_being_made(api: Api, customer: Caller) -> None:
    accepted = customer.order(GAME)
    path = f"/api/instances/{accepted['serverId']}"
    is_problem(customer.delete(path), 409, "instance-busy", operationId=accepted["operationId"])
    api.claim(accepted["operationId"])
    is_problem(customer.delete(path), 409, "instance-busy", operationId=accepted["operationId"])
    assert customer.get(path).json()["status"] == "provisioning"


def test_lists_operations_without_their_phases(api: Api, customer: Caller) -> None:
    api.complete(customer.order(GAME))
    (listed,) = customer.get(OPERATIONS).json()["operations"]
    assert (listed["status"], listed["phases"]) == ("succeeded", None)
    assert {phase["status"] for phase in customer.operation(listed["operationId"])["phases"]} != {"skipped"}


# what does not go well


def test_case_a10_an_instance_says_since_when_its_deletion_fails_and_when_it_is_tried_next(
    api: Api, customer: Caller
) -> None:
    accepted = customer.order(GAME)
    api.complete(accepted)
    path = f"/api/instances/{accepted['serverId']}"
    well = customer.get(path).json()
    assert (well["failingSince"], well["nextTryAt"]) == (None, None)
    assert customer.get("/api/instances?leaked=true").json()["instances"] == []
    row = api.claim(customer.delete(path).json()["operationId"])
    endings.fail(api.database, row.instance_id, lease_of(row), FAILURE, attend_seconds=60)
    failing = customer.get(path).json()
    assert failing["status"] == "deleting"
    assert datetime.fromisoformat(failing["nextTryAt"]) > datetime.fromisoformat(failing["failingSince"])
    assert customer.get("/api/instances?leaked=true").json()["instances"] == [failing]
    api.claim(customer.delete(path).json()["operationId"])
    trying = customer.get(path).json()
    assert (trying["failingSince"], trying["nextTryAt"]) == (failing["failingSince"], None)


def test_case_a5_names_the_order_to_retry_by_its_server_after_the_sweep_took_it_off_the_edge(
    api: Api, customer: Caller
) -> None:
    row = api.claim(customer.order(GAME | {"onFailure": "keep"})["operationId"])
    vmid = api.name(row)
    give_back(api.database, lease_of(row), LEAKED, kept=True)
    api.query("update instance set attend_at = now() - interval '1 second' where id = %s", row.instance_id)
    swept = sweep.attend_leftovers(api.database)
    (begun,) = (each for each in swept if operation(api.database, each).instance_id == row.instance_id)
    assert customer.token is not None
    client = Client(api.url, customer.token)
    assert client.operation_id(str(vmid)) == str(begun)
    assert client.operation_id(str(vmid), "provision") == str(row.id)
    assert client.operation(str(begun))["kind"] == "unpublish"


def proxy_status(caller: Caller, server_id: str) -> str | None:
    """What the instance and the list say that the proxy said."""
    shown = caller.get(f"/api/instances/{server_id}").json()["proxyStatus"]
    assert [each["proxyStatus"] for each in caller.get("/api/instances").json()["instances"]] == [shown]
    return None if shown is None else str(shown)


def test_case_a12_never_shows_what_the_proxy_said_before_it_or_the_api_was_restarted(
    api: Api, customer: Caller
) -> None:
    accepted = customer.order(GAME)
    server_id, hostname = accepted["serverId"], f"host-{api.complete(accepted)}"
    assert proxy_status(customer, server_id) is None
    assert accounts.set_proxy_status(api.database, hostname, "proxy_ping_ok")
    assert proxy_status(customer, server_id) == "proxy_ping_ok"
    with running_api(api.database.url) as restarted:
        late = Caller(restarted.http, customer.customer_id, customer.token)
        assert proxy_status(late, server_id) is None, "what the proxy did meanwhile is not known"
        assert accounts.set_proxy_status(api.database, hostname, "proxy_ping_failed")
        assert proxy_status(late, server_id) == "proxy_ping_failed"
    api.query("update instance set proxy_status_at = now() - interval '61 seconds' where id = %s", server_id)
    assert proxy_status(customer, server_id) is None, "the proxy may have been restarted since"
    assert accounts.set_proxy_status(api.database, hostname, "proxy_ping_ok")
    stop = customer.request("POST", f"/api/instances/{server_id}/stop").json()
    assert proxy_status(customer, server_id) == "proxy_ping_ok"
    api.claim(stop["operationId"])
    assert proxy_status(customer, server_id) is None, "it is being taken off the proxy"
