"""The pains of the predecessor, each a test with its number.

Three of the fifteen are not whole here:

- 3 (the Traefik file written under one name and removed under another): there is no Traefik file; the part that touches
  teardown is that what is registered and what is removed have one name.
- 12 (registrations lost when the proxy restarts): putting them back is the reconciler's, a later issue's.
- 13 (links to deleted columns broke reconcile jobs unnoticed): the reconciler's too.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from orchestrator.cli.client.api import Client
from orchestrator.settings import PROJECT_DIR
from tests.support.edge import remove_public
from tests.support.fix_lab import Lab, tls_context
from tests.support.fix_stack import GAME, Running
from tests.support.observe import agent_status, ask_agent, container, next_vmid, rows
from tests.support.playbook import play

Inventory = dict[str, list[dict[str, Any]]]
UNEXPECTED = "192.0.2.77"
CATALOGUE = PROJECT_DIR / "inventory" / "lab" / "group_vars" / "all" / "catalogue.yml"


@dataclass(frozen=True)
class Walk:
    """One server's life, and what the lab looked like on its way."""

    before: Inventory
    seen: list[tuple[str, bool, bool]]
    operation: dict[str, Any]
    up: Inventory
    agent: dict[str, Any]
    littered: Inventory
    after: Inventory


@pytest.fixture(scope="module")
def walk(shared_stack: Running) -> Walk:
    """A server is ordered, its records are tampered with, and it is deleted."""
    stack, client = shared_stack, shared_stack.customer()
    stack.lab.clear_faults()
    before = stack.lab.inventory()
    # It crashes before it is ready and comes back when it was seen so: being there and being ready lie apart.
    stack.lab.fault(target="agent", behaviour="crash", count=1, backoff=[60.0], times=1)
    accepted = client.request("POST", "/api/instances", body=GAME)
    seen = _watch_edge(stack, client, accepted["operationId"])
    operation = stack.finish(client, accepted["operationId"])
    assert operation["status"] == "succeeded", operation["error"]
    up, agent = stack.lab.inventory(), agent_status(stack.lab, operation["vmid"])
    for zone in ("lab.internal", "lab.example"):
        name, mark = f"{operation['hostname']}.{zone}", f"Managed by Hostwright. instance={operation['serverId']}"
        add_address(stack.lab, name, UNEXPECTED, mark)
    littered = stack.lab.inventory()
    assert stack.tear_down(client, operation["serverId"])["status"] == "succeeded"
    return Walk(before, seen, operation, up, agent, littered, stack.lab.inventory())


def _watch_edge(stack: Running, client: Client, operation_id: str) -> list[tuple[str, bool, bool]]:
    """Phase, whether anything is published, whether the agent says ready; from the order to its end."""
    seen: list[tuple[str, bool, bool]] = []
    while (operation := client.operation(operation_id))["status"] in ("queued", "running"):
        inventory, ready = stack.lab.inventory(), False
        published = bool(inventory["registrations"] or inventory["records"])
        if operation["phase"] == "wait-for-agent-terminal-state" and container(inventory, operation["vmid"]):
            status = agent_status(stack.lab, operation["vmid"])
            ready = bool(status["ready"])
            if status["state"] == "crashed":
                ask_agent(stack.lab, operation["vmid"], "POST", "/restart")
        seen.append((operation["phase"], published, ready))
    return seen


def add_address(lab: Lab, name: str, address: str, note: str) -> None:
    """A further A record at the provider of this name's zone, with a note that says whose it is."""
    technitium, cloudflare = lab.site["dns"]
    with httpx.Client(verify=tls_context(lab), trust_env=False) as client:
        if name.endswith(technitium["zone"]):
            fields = {"token": lab.secrets["technitium_token"], "domain": name, "zone": technitium["zone"]}
            answer = client.post(
                f"{technitium['url']}/api/zones/records/add",
                data=fields | {"type": "A", "ttl": "3600", "ipAddress": address, "comments": note},
            )
            assert answer.json()["status"] == "ok", answer.text
            return
        answer = client.post(
            f"{cloudflare['url']}/zones/{cloudflare['zone_id']}/dns_records",
            json={"type": "A", "name": name, "content": address, "ttl": 3600, "proxied": False, "comment": note},
            headers={"Authorization": f"Bearer {lab.secrets['cloudflare_token']}"},
        )
        assert answer.json()["success"], answer.text


def addresses(inventory: Inventory) -> set[tuple[str, str]]:
    return {(record["view"], record["value"]) for record in inventory["records"] if record["type"] == "A"}


def seconds(phase: dict[str, Any]) -> float:
    return float(phase["durationMs"]) / 1000


def test_pain_01_agent_error_ends_the_phase_at_once_in_the_agents_words(stack: Running) -> None:
    stack.lab.fault(target="agent", behaviour="error", message="no such version", log=["HTTP 404"])
    operation = stack.provision(stack.customer())
    assert operation["error"]["code"] == "agent-error"
    assert "no such version" in operation["error"]["message"]
    assert operation["error"]["detail"]["logTail"] == ["HTTP 404"]
    waited = next(phase for phase in operation["phases"] if phase["name"] == "wait-for-agent-terminal-state")
    # The phase has 10 minutes.
    assert seconds(waited) < 10


def test_pain_02_proxy_is_unregistered_under_the_name_it_was_registered_with(walk: Walk) -> None:
    names = {found["name"] for found in walk.up["registrations"]} - {f["name"] for f in walk.before["registrations"]}
    assert names == {walk.operation["hostname"]}
    assert walk.after["registrations"] == walk.before["registrations"]


def test_pain_03_everything_removed_has_the_name_it_was_made_with(walk: Walk) -> None:
    assert walk.operation["hostname"] in str(walk.up)
    assert walk.operation["hostname"] not in str(walk.after)


def test_pain_04_dns_failure_fails_the_order_and_somebody_elses_record_stays(stack: Running) -> None:
    client, before = stack.customer(), stack.lab.inventory()
    stack.lab.fault(target="technitium", path="/add", status="error", errorMessage="disk full")
    failed = stack.provision(client)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "dns-failed")
    stack.lab.clear_faults()
    assert stack.lab.inventory() == before

    name = f"mc-vanilla-{next_vmid(stack, 'game')}.lab.example"
    add_address(stack.lab, name, "192.0.2.1", "accounting's")
    theirs = stack.lab.inventory()
    operation = stack.provision(client)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "dns-failed")
    assert f"A 192.0.2.1 of {name} is marked as somebody else's (accounting's)" in operation["error"]["message"]
    assert operation["cleanup"]["leaked"] == []
    assert stack.lab.inventory() == theirs
    remove_public(stack.lab, name)


def test_pain_05_srv_service_is_the_catalogues(stack: Running, tmp_path: Path) -> None:
    """By hand, with a catalogue that knows a further game."""
    before = stack.lab.inventory()
    catalogue = yaml.safe_load(CATALOGUE.read_text())["hostwright_catalogue"]
    minecraft = catalogue["games"]["minecraft"]
    catalogue["games"]["other"] = minecraft | {"service": "othergame", "protocol": "udp", "hostname": "other-{vmid}"}
    order = {"vmid": 8005, "ctype": "game", "game": "other", "variant": "vanilla", "version": "1.21.7"}
    variables = tmp_path / "order.yml"
    variables.write_text(yaml.safe_dump(order | {"hostwright_catalogue": catalogue}))
    play("provision", stack.state_dir, {}, arguments=("-e", f"@{variables}")).ok()
    found = [record for record in stack.lab.inventory()["records"] if record["type"] == "SRV"]
    ours = {record["name"] for record in found if "8005" in record["name"]}
    assert ours == {"_othergame._udp.other-8005.lab.internal", "_othergame._udp.other-8005.lab.example"}
    play("teardown", stack.state_dir, {}, arguments=("-e", f"@{variables}")).ok()
    assert stack.lab.inventory() == before


def test_pain_06_teardown_removes_an_address_of_ours_that_nobody_expected(walk: Walk) -> None:
    assert {("internal", UNEXPECTED), ("public", UNEXPECTED)} <= addresses(walk.littered)
    assert walk.after["records"] == walk.before["records"]


def test_pain_07_java_comes_from_the_versions_data(stack: Running) -> None:
    client, before = stack.customer(), stack.lab.inventory()
    expected = {"1.20.5": "java/21/", "26.1": "java/25/"}
    accepted = {
        version: stack.post(client, GAME | {"version": version}, Idempotency_Key=version).json() for version in expected
    }
    operations = {version: stack.finish(client, answer["operationId"]) for version, answer in accepted.items()}
    assert {operation["status"] for operation in operations.values()} == {"succeeded"}
    for version, operation in operations.items():
        config = agent_status(stack.lab, operation["vmid"])["config"]
        assert config["version"] == version
        assert config["java_path"].startswith(expected[version]), config
    tear_down_all(stack, client, list(operations.values()))
    assert stack.lab.inventory() == before


def test_pain_08_failure_at_the_last_phase_leaves_no_container_and_no_claim(stack: Running) -> None:
    client, before = stack.customer(), stack.lab.inventory()
    stack.lab.fault(target="velocity", path="/register", httpStatus=400, message="no")
    operation = stack.provision(client)
    assert (operation["status"], operation["phase"] != "complete") == ("failed", True)
    assert operation["error"]["phase"] == "publish-edge"
    assert stack.lab.inventory() == before
    instance = client.request("GET", f"/api/instances/{operation['serverId']}")
    assert (instance["status"], instance["vmid"], instance["hostname"]) == ("failed", None, None)
    assert rows(stack, "select from instance where vmid = %s", operation["vmid"]) == []


def test_pain_09_parallel_orders_get_vmids_of_their_own_beside_foreign_ones(stack: Running) -> None:
    first = next_vmid(stack, "game")
    foreign = {first, next_vmid(stack, "game", after=first)}
    for vmid in foreign:
        stack.lab.place_foreign(vmid, f"theirs-{vmid}")
    before = stack.lab.inventory()
    clients = [stack.customer() for _ in range(3)]
    with ThreadPoolExecutor(len(clients)) as pool:
        operations = list(pool.map(stack.provision, clients))
    assert {operation["status"] for operation in operations} == {"succeeded"}, [one["error"] for one in operations]
    vmids = {operation["vmid"] for operation in operations}
    assert len(vmids) == len(clients)
    assert not vmids & foreign
    for operation, client in zip(operations, clients, strict=True):
        assert container(stack.lab.inventory(), operation["vmid"]) is not None
        stack.tear_down(client, operation["serverId"])
    # The foreign ones are as they were, and nothing of ours is left beside them.
    assert stack.lab.inventory() == before


def test_pain_10_nobody_touches_what_is_not_theirs(stack: Running) -> None:
    owner, stranger = stack.customer(), stack.customer()
    server = owner.request("POST", "/api/instances", body=GAME)
    path = f"/api/instances/{server['serverId']}"
    for headers in ({}, {"Authorization": "Bearer hw_guessed"}, {"Authorization": f"Basic {owner.token}"}):
        for method, where in (("POST", "/api/instances"), ("DELETE", path), ("GET", path), ("GET", "/api/instances")):
            answer = httpx.request(method, stack.url + where, headers=headers, json=GAME, trust_env=False)
            assert answer.status_code == 401, (method, where, answer.text)
    mine = owner.request("GET", "/api/instances")["instances"]
    assert [instance["serverId"] for instance in mine] == [server["serverId"]]
    assert stranger.request("GET", "/api/instances")["instances"] == []
    assert stranger.request("GET", "/api/servers")["servers"] == []
    for method in ("GET", "DELETE"):
        answer = httpx.request(
            method, stack.url + path, headers={"Authorization": f"Bearer {stranger.token}"}, trust_env=False
        )
        assert answer.status_code == 404, answer.text
    # The customer is the token's; a body that names one is refused.
    assert stack.post(stranger, GAME | {"customerId": mine[0]["customerId"]}).status_code == 403
    assert stack.finish(owner, server["operationId"])["status"] == "succeeded"
    assert stack.tear_down(owner, server["serverId"])["status"] == "succeeded"


def test_pain_11_nothing_is_published_before_the_agent_is_ready(walk: Walk) -> None:
    phases = {phase["name"]: phase for phase in walk.operation["phases"]}
    ready, published = phases["wait-for-agent-terminal-state"], phases["publish-edge"]
    assert datetime.fromisoformat(published["startedAt"]) >= datetime.fromisoformat(ready["finishedAt"])
    waiting = [(shown, ready) for phase, shown, ready in walk.seen if phase == "wait-for-agent-terminal-state"]
    assert (False, False) in waiting
    assert all(not shown for shown, _ in waiting)
    assert (walk.agent["state"], walk.agent["ready"], walk.agent["readySource"]) == ("running", True, "minecraft_ping")


def test_pain_14_one_short_name_everywhere(walk: Walk) -> None:
    name, vmid = walk.operation["hostname"], walk.operation["vmid"]
    assert name == f"mc-vanilla-{vmid}"
    made = container(walk.up, vmid)
    assert made is not None
    assert made["hostname"] == name
    assert name in {found["name"] for found in walk.up["registrations"]}
    names = {record["name"] for record in walk.up["records"]} - {record["name"] for record in walk.before["records"]}
    zones = ("lab.internal", "lab.example")
    assert names == {f"{prefix}{name}.{zone}" for prefix in ("", "_minecraft._tcp.") for zone in zones}


@pytest.mark.parametrize("headers", [{}, {"Idempotency_Key": "one-click"}], ids=["without a key", "with a key"])
def test_pain_15_double_submit_makes_one_server(stack: Running, headers: dict[str, str]) -> None:
    client, before = stack.customer(), stack.lab.inventory()
    together = threading.Barrier(8)

    def submit(_: int) -> httpx.Response:
        together.wait()
        return stack.post(client, GAME, **headers)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit, range(8)))
    assert {answer.status_code for answer in answers} == {202}
    (operation_id,) = {answer.json()["operationId"] for answer in answers}
    operation = stack.finish(client, operation_id)
    assert operation["status"] == "succeeded", operation["error"]
    made = {one["vmid"] for one in stack.lab.inventory()["containers"]} - {one["vmid"] for one in before["containers"]}
    assert made == {operation["vmid"]}
    assert len(client.request("GET", "/api/instances")["instances"]) == 1
    stack.tear_down(client, operation["serverId"])
    assert stack.lab.inventory() == before


def tear_down_all(stack: Running, client: Client, operations: list[dict[str, Any]]) -> None:
    """All at once."""
    asked = [client.request("DELETE", f"/api/instances/{operation['serverId']}") for operation in operations]
    assert {stack.finish(client, answer["operationId"])["status"] for answer in asked} == {"succeeded"}
