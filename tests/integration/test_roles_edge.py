"""publish_edge and unpublish_edge as real playbooks against the lab's DNS providers and proxy."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mcstatus
import pytest

from orchestrator.drivers.dns.factory import parse_provider
from orchestrator.drivers.players.minecraft import ping
from orchestrator.drivers.players.reachability import CheckError, Instance, checks
from orchestrator.drivers.proxy.base import Registration
from orchestrator.drivers.proxy.factory import open_proxy, parse_proxy
from orchestrator.drivers.secrets import Secrets
from tests.support import containers, lab_proxy
from tests.support.containers import Stage
from tests.support.edge import (
    GONE,
    HOST,
    PLAN,
    PUBLISH,
    VERIFY,
    VMID,
    ZONES,
    assert_published,
    assert_unpublished,
    expected,
    is_published,
    other_secrets,
    publish,
    records,
    remove_public,
    rfc2136,
    seed_cloudflare,
    unpublish,
    withdraw,
)
from tests.support.fix_lab import Lab
from tests.support.http_server import Answer, http_server
from tests.support.lab_dns import ask, technitium, technitium_zone, values


@pytest.fixture(scope="module")
def game(lab: Lab) -> Iterator[dict[str, Any]]:
    """A game server that runs and is not published."""
    order: dict[str, Any] = {"vmid": VMID, "server_id": "f1e2d3c4-0000-4000-8000-000000005950"}
    yield order | {"address": containers.make(lab, VMID, Stage.READY, server_id=order["server_id"])}
    containers.remove(lab, VMID, server_id=order["server_id"])


@pytest.fixture
def order(lab: Lab, game: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same, for a test that publishes it."""
    yield game
    lab.clear_faults()
    if is_published(lab):
        unpublish(lab, game).ok()


def test_publish_makes_a_player_get_through_and_twice_changes_nothing(lab: Lab, order: dict[str, Any]) -> None:
    first = publish(lab, order).ok()
    assert first.changed == [PUBLISH]
    assert_published(lab, order)
    assert len(first.result(VERIFY)["checks"]) == 8
    edge, _, port = lab.urls["edgeAddress"].partition(":")
    assert ping(edge, int(port), hostname=f"{HOST}.lab.example").version == "1.21.7"
    again = publish(lab, order).ok()
    assert again.changed == []
    assert lab_proxy.ping(lab.urls["edgeAddress"], f"{HOST}.lab.example") == f"vanilla-{VMID}"
    assert not any(secret in first.output + again.output for secret in lab.secrets.values())


def test_pain_4_stale_values_are_replaced_and_not_added_to(lab: Lab, order: dict[str, Any]) -> None:
    public, internal = f"{HOST}.lab.example", f"{HOST}.lab.internal"
    mark = f"Managed by Hostwright. instance={order['server_id']}"
    for address in ("192.0.2.1", "192.0.2.2", lab.site["dns"][1]["address"]):
        seed_cloudflare(lab, type="A", name=public, content=address, comment=mark)
    stale = {"priority": 1, "weight": 1, "port": 1, "target": "elsewhere.lab.example"}
    seed_cloudflare(lab, type="SRV", name=f"_minecraft._tcp.{public}", data=stale, comment=mark)
    for address in ("192.0.2.1", "192.0.2.2"):
        technitium(lab, "add", domain=internal, type="A", ipAddress=address, ttl="300", comments=mark)
    with lab_proxy.bridge_client(lab) as bridge:
        bridge.post("/zpack/register", json=lab_proxy.registration(HOST, 1)).raise_for_status()
    assert publish(lab, order).ok().changed == [PUBLISH]
    assert_published(lab, order)


def test_other_names_are_left_alone(lab: Lab, order: dict[str, Any]) -> None:
    seed_cloudflare(lab, type="A", name=f"x-{HOST}.lab.example", content="192.0.2.9")
    seed_cloudflare(lab, type="A", name="lab.example", content="192.0.2.9")
    before = [one for one in lab.inventory()["records"] if one["value"] == "192.0.2.9"]
    publish(lab, order).ok()
    unpublish(lab, order).ok()
    after = lab.inventory()["records"]
    assert len(before) == 2
    assert [one for one in after if one["value"] == "192.0.2.9"] == before
    for one in before:
        remove_public(lab, one["name"])


def test_ping_and_mcstatus_read_the_same(game: dict[str, Any]) -> None:
    # The lab's game answers with the protocol it is asked for, as servers behind a translating proxy do.
    ours, theirs = ping(game["address"], 25565), mcstatus.JavaServer(game["address"], 25565).status(version=-1)
    assert (ours.version, ours.protocol) == (theirs.version.name, theirs.version.protocol)
    assert (ours.players_online, ours.players_max) == (theirs.players.online, theirs.players.max)
    assert ours.description == theirs.motd.to_plain()


@pytest.mark.parametrize(
    ("kind", "content"),
    [("A", "192.0.2.77"), ("AAAA", "2001:db8::77"), ("CNAME", "elsewhere.example")],
)
def test_case_a7_and_a8_record_of_somebody_else_is_refused_and_stays(
    lab: Lab, order: dict[str, Any], kind: str, content: str
) -> None:
    public = f"{HOST}.lab.example"
    seed_cloudflare(lab, type=kind, name=public, content=content, comment="accounting's")
    theirs = records(lab, "public")
    try:
        run = publish(lab, order)
        assert run.failure["code"] == "dns-failed"
        assert run.failure["msg"] == (
            f"cloudflare: {kind} {content} of {public} is marked as somebody else's (accounting's) and was not touched"
            "; remove it at the provider, or say exclusive: true in this entry of hostwright_dns when the whole zone "
            "is Hostwright's"
        )
        assert withdraw(lab, order, run).ok().changed == [GONE], "what was made at the other provider"
        assert (records(lab, "public"), records(lab, "internal")) == (theirs, [])
        assert unpublish(lab, order).ok().changed == []
        assert records(lab, "public") == theirs
        ours = [entry | {"exclusive": True} for entry in lab.site["dns"]]
        publish(lab, order, hostwright_dns=ours).ok()
        assert_published(lab, order)
    finally:
        remove_public(lab, public)


def test_records_of_another_instance_are_refused_and_stay(lab: Lab, order: dict[str, Any]) -> None:
    publish(lab, order).ok()
    shared = [entry | {"exclusive": True} for entry in lab.site["dns"]]
    other = publish(lab, order, server_id="of-another-site", hostwright_dns=shared)
    assert other.failure["code"] == "dns-failed"
    words = f"carries the mark of Hostwright's instance {order['server_id']} and was not touched; delete that instance"
    assert other.failure["msg"].count(words) == len(shared)
    planned = other.result(PLAN)["publishing"]
    names = [one for one in planned if one["driver"] != "zpack-bridge"]
    gone = unpublish(lab, order, publications=names, server_id="of-another-site").ok()
    assert gone.changed == []
    assert sorted(map(str, gone.result(GONE)["withdrawn"])) == sorted(map(str, names))
    assert_published(lab, order)


def test_pains_2_and_6_unpublish_removes_what_is_there_and_ours(lab: Lab, order: dict[str, Any]) -> None:
    publish(lab, order).ok()
    public = f"{HOST}.lab.example"
    seed_cloudflare(lab, type="A", name=public, content="203.0.113.77")
    assert unpublish(lab, order).ok().changed == [GONE]
    assert records(lab, "public") == [(public, "A", "203.0.113.77", 300)]
    remove_public(lab, public)
    assert_unpublished(lab)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"target": "technitium", "status": "error", "errorMessage": "disk is full"}, "technitium: disk is full"),
        (
            {"target": "cloudflare", "httpStatus": 400, "code": 9005, "message": "Content is odd", "method": "POST"},
            "cloudflare: Content is odd (9005)",
        ),
        ({"target": "cloudflare", "httpStatus": 500, "code": 1, "message": "Internal"}, "cloudflare: Internal (1)"),
    ],
    ids=["technitium", "cloudflare create", "cloudflare 500"],
)
def test_pain_4_a_provider_that_says_no_fails_the_phase_in_its_own_words(
    lab: Lab, order: dict[str, Any], fault: dict[str, Any], words: str
) -> None:
    lab.fault(**fault)
    failure = publish(lab, order).failure
    assert failure["code"] == "dns-failed"
    assert failure["msg"].startswith(words)
    assert failure["detail"]["providers"][fault["target"]].startswith(words)


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("technitium", "Invalid token or session expired"),
        ("cloudflare", "Authentication error (10000); the token (secret cloudflare_token) must be valid and have"),
    ],
)
def test_wrong_token_says_so(lab: Lab, order: dict[str, Any], tmp_path: Path, provider: str, words: str) -> None:
    secrets = other_secrets(lab, tmp_path, **{f"{provider}_token": "planted-wrong-token"})
    run = publish(lab, order, hostwright_secrets_file=secrets)
    assert run.failure["code"] == "dns-failed"
    assert f"{provider}: {words}" in run.failure["msg"]
    assert f"{provider}_token" in run.failure["msg"]
    assert "planted-wrong-token" not in run.output


@pytest.mark.parametrize(
    ("provider", "right"),
    [
        ("technitium", "Access was denied; the token's user needs the permissions View, Modify and Delete"),
        ("cloudflare", "the permission Zone / DNS / Edit on zone lab.example"),
    ],
)
def test_read_only_token_says_which_right_is_missing(
    lab: Lab, order: dict[str, Any], tmp_path: Path, provider: str, right: str
) -> None:
    readonly = {f"{provider}_token": lab.secrets[f"{provider}_readonly_token"]}
    run = publish(lab, order, hostwright_secrets_file=other_secrets(lab, tmp_path, **readonly))
    assert run.failure["code"] == "dns-failed"
    assert right in run.failure["msg"]


LIMITS: dict[str, dict[str, Any]] = {
    "technitium": {"httpStatus": 429, "retryAfter": 3},
    "cloudflare": {"httpStatus": 429, "code": 971, "message": "Slow down", "retryDate": 3},
    "velocity": {"httpStatus": 503, "message": "slow down", "retryAfter": 3},
}
WHO = {"technitium": "technitium", "cloudflare": "cloudflare", "velocity": "proxy zpack-bridge"}
CHANGING = {"technitium": {"path": "/add"}, "cloudflare": {"method": "POST"}, "velocity": {"path": "/register"}}


@pytest.mark.parametrize("target", LIMITS)
@pytest.mark.parametrize("change", [False, True], ids=["reading", "changing"])
def test_case_b7_who_wants_to_be_left_alone_is_waited_for(
    lab: Lab, order: dict[str, Any], target: str, change: bool
) -> None:
    lab.fault(target=target, times=1, **LIMITS[target], **(CHANGING[target] if change else {}))
    run = publish(lab, order).ok()
    assert re.search(rf"waiting: .*{WHO[target]}.*it wants to be left alone until \d", run.output)
    assert run.result(PUBLISH)["attempts"] == 2
    assert run.changed == [PUBLISH]
    assert_published(lab, order)


def test_case_b7_short_wait_needs_no_word(lab: Lab, order: dict[str, Any]) -> None:
    lab.fault(target="cloudflare", httpStatus=429, code=971, message="Slow down", retryAfter=1, times=2)
    assert "waiting" not in publish(lab, order).ok().output
    assert_published(lab, order)


@pytest.mark.parametrize("target", LIMITS)
def test_case_b7_who_wants_to_be_left_alone_for_longer_than_the_phase_is_named(
    lab: Lab, order: dict[str, Any], target: str
) -> None:
    lab.fault(target=target, **LIMITS[target] | {"retryAfter": 600, "retryDate": 600})
    started = time.monotonic()
    failure = publish(lab, order).failure
    assert time.monotonic() - started < 15
    assert failure["code"] == ("velocity-failed" if target == "velocity" else "dns-failed")
    assert re.search(
        rf"{WHO[target]}.*; it wants to be left alone until [-\d]{{10}} [:\d]{{8}} UTC, which is longer", failure["msg"]
    )
    lab.clear_faults()


@pytest.mark.parametrize("target", LIMITS)
def test_case_b7_who_wants_to_be_left_alone_is_waited_for_when_removing(
    lab: Lab, order: dict[str, Any], target: str
) -> None:
    published = publish(lab, order).ok()
    lab.fault(target=target, times=1, **LIMITS[target])
    run = withdraw(lab, order, published).ok()
    assert re.search(rf"waiting: .*{WHO[target]}.*it wants to be left alone until \d", run.output)
    assert run.changed == [GONE]
    assert sorted(map(str, run.result(GONE)["withdrawn"])) == sorted(map(str, published.result(PLAN)["publishing"]))
    assert_unpublished(lab)


def test_case_b7_lasting_failure_beside_a_wait_ends_the_phase_at_once(lab: Lab, order: dict[str, Any]) -> None:
    lab.fault(target="cloudflare", httpStatus=429, code=971, message="Slow down", retryAfter=60)
    lab.fault(target="technitium", status="error", errorMessage="no")
    run = publish(lab, order)
    assert "technitium: no" in run.failure["msg"]
    assert "cloudflare: Slow down (971); it wants to be left alone until" in run.failure["msg"]
    assert run.result(PUBLISH).get("attempts", 1) == 1


@pytest.mark.parametrize("kind", ["A", "SRV"])
def test_case_a9_record_that_is_switched_off_is_written_again(lab: Lab, order: dict[str, Any], kind: str) -> None:
    publish(lab, order).ok()
    host = f"{HOST}.lab.internal"
    where = host if kind == "A" else f"_minecraft._tcp.{host}"
    [there] = technitium(lab, "get", domain=where)["response"]["records"]
    value = {name: str(part) for name, part in there["rData"].items()}
    kept = {"ttl": str(there["ttl"]), "comments": there["comments"]}
    technitium(lab, "update", domain=where, type=kind, disable="true", **value, **kept)
    assert values(ask(lab, where, kind)) == []
    assert publish(lab, order).ok().changed == [PUBLISH]
    assert len(values(ask(lab, where, kind))) == 1
    assert publish(lab, order).ok().changed == []


def test_case_a9_zone_that_is_switched_off_is_named(lab: Lab, order: dict[str, Any]) -> None:
    published = publish(lab, order).ok()
    technitium_zone(lab, "disable", zone="lab.internal")
    try:
        failure = publish(lab, order).failure
        assert failure["code"] == "dns-failed"
        assert "(switched off)" in failure["msg"]
        assert "switch the zone and its records on there" in failure["msg"]
        withdraw(lab, order, published).ok()
    finally:
        technitium_zone(lab, "enable", zone="lab.internal")
    assert_unpublished(lab)


@pytest.mark.parametrize("provider", ["technitium", "rfc2136"])
def test_case_a8_address_that_a_wildcard_gives_ends_with_our_own_record(
    lab: Lab, order: dict[str, Any], provider: str
) -> None:
    theirs = {"domain": "*.lab.internal", "type": "AAAA", "ipAddress": "2001:db8::1"}
    technitium(lab, "add", **theirs)
    host = f"{HOST}.lab.internal"
    try:
        assert values(ask(lab, host, "AAAA")) == ["2001:db8::1"]
        dns = lab.site["dns"] if provider == "technitium" else rfc2136(lab)
        publish(lab, order, hostwright_dns=dns).ok()
        assert values(ask(lab, host, "AAAA")) == []
        unpublish(lab, order, hostwright_dns=dns).ok()
    finally:
        technitium(lab, "delete", **theirs)


def test_unpublish_tries_every_provider_and_names_each_failure(lab: Lab, order: dict[str, Any]) -> None:
    publish(lab, order).ok()
    lab.fault(target="technitium", status="error", errorMessage="no")
    run = unpublish(lab, order)
    assert run.failure["code"] == "dns-failed"
    assert run.failure["changed"] is True
    assert {one["driver"] for one in run.failure["withdrawn"]} == {"cloudflare", "zpack-bridge"}
    assert records(lab, "public") == []
    assert records(lab, "internal") == expected(lab, "internal")
    lab.fault(target="cloudflare", httpStatus=400, code=1, message="never")
    lab.fault(target="velocity", httpStatus=500, message="the plugin is confused")
    run = unpublish(lab, order)
    both = run.failure["msg"]
    assert (run.failure["code"], run.failure["withdrawn"]) == ("velocity-failed", [])
    assert "technitium: no" in both
    assert "cloudflare: never (1)" in both
    lab.clear_faults()
    unpublish(lab, order).ok()
    assert_unpublished(lab)


def test_provider_that_answers_nonsense_fails_alone(lab: Lab, order: dict[str, Any]) -> None:
    nonsense = {"success": True, "result": [{"type": "A", "ttl": "soon"}]}
    technitium, cloudflare = lab.site["dns"]
    with http_server(lambda _: Answer(200, nonsense)) as server:
        failure = publish(lab, order, hostwright_dns=[cloudflare | {"url": server.url}, technitium]).failure
    assert failure["code"] == "dns-failed"
    assert failure["msg"].startswith("cloudflare: answered a record we cannot read (ValueError: ")
    assert records(lab, "internal") == expected(lab, "internal")


def test_unpublish_removes_records_although_the_proxy_fails(lab: Lab, order: dict[str, Any]) -> None:
    publish(lab, order).ok()
    lab.fault(target="velocity", httpStatus=500, message="the plugin is confused")
    run = unpublish(lab, order)
    assert run.code != 0
    assert run.failure["code"] == "velocity-failed"
    assert "the plugin is confused" in run.failure["msg"]
    assert [records(lab, view) for view in ZONES] == [[], []]


def test_unpublish_touches_nothing_of_a_container_that_is_not_ours(lab: Lab, order: dict[str, Any]) -> None:
    publish(lab, order).ok()
    run = unpublish(lab, order, server_id="somebody-else")
    assert run.failure["code"] == "not-ours"
    assert run.changed == []
    assert_published(lab, order)


def test_unpublish_of_a_container_that_is_gone_removes_what_it_left(lab: Lab, order: dict[str, Any]) -> None:
    publish(lab, order).ok()
    assert unpublish(lab, order | {"vmid": 5951, "hostname": HOST}).ok().changed == [GONE]
    assert_unpublished(lab)


def test_wrong_proxy_secret_is_velocity_failed(lab: Lab, order: dict[str, Any], tmp_path: Path) -> None:
    secrets = other_secrets(lab, tmp_path, velocity_secret="planted-wrong-token")
    run = publish(lab, order, hostwright_secrets_file=secrets)
    assert run.failure["code"] == "velocity-failed"
    assert "check secret velocity_secret" in run.failure["msg"]
    assert "planted-wrong-token" not in run.output


def test_pain_12_publish_registers_again_after_a_proxy_restart(lab: Lab, order: dict[str, Any]) -> None:
    publish(lab, order).ok()
    lab.restart_proxy()
    again = publish(lab, order).ok().result(PUBLISH)["places"]
    assert again == {"technitium": "unchanged", "cloudflare": "unchanged", "zpack-bridge": "changed"}
    assert_published(lab, order)


def test_bridge_that_reads_forms_is_a_setting(lab: Lab, order: dict[str, Any]) -> None:
    proxy = lab.site["proxy"] | {"encoding": "form"}
    assert publish(lab, order, hostwright_proxy=proxy).ok().changed == [PUBLISH]
    assert publish(lab, order, hostwright_proxy=proxy).ok().changed == []
    assert_published(lab, order)


def test_publish_without_an_address_says_what_to_run_before_and_changes_nothing(lab: Lab, game: dict[str, Any]) -> None:
    before = lab.inventory()
    run = publish(lab, {name: value for name, value in game.items() if name != "address"})
    assert run.result(PUBLISH)["msg"] == "there is no address to publish: run wait_for_ip before, or give -e address=…"
    assert lab.inventory() == before


def test_verify_names_a_container_that_does_not_answer(lab: Lab, order: dict[str, Any]) -> None:
    nobody = order["address"].rpartition(".")[0] + ".254"
    run = publish(lab, order, "-e", "publish_edge_timeout=3", address=nobody)
    assert (run.failure["code"], run.failure["detail"]["check"]) == ("verify-failed", "ping container")
    assert f"{nobody}:25565 does not take the connection" in run.failure["msg"]
    assert "proxy" in run.failure["detail"]["passed"]


def test_verify_names_a_name_server_that_does_not_answer(lab: Lab, order: dict[str, Any]) -> None:
    lab.fault(target="dns", view="public", rcode="SERVFAIL")
    failure = publish(lab, order, publish_edge_timeout=3).failure
    assert (failure["code"], failure["detail"]["check"]) == ("verify-failed", "dns cloudflare A")
    assert "SERVFAIL" in failure["msg"]


def test_verify_names_an_edge_that_does_not_answer(lab: Lab, order: dict[str, Any]) -> None:
    dns = [lab.site["dns"][0], lab.site["dns"][1] | {"address": order["address"].rpartition(".")[0] + ".253"}]
    failure = publish(lab, order, hostwright_dns=dns, publish_edge_timeout=3).failure
    assert (failure["code"], failure["detail"]["check"]) == ("verify-failed", "ping cloudflare")
    assert f"{HOST}.lab.example" in failure["msg"]


@pytest.mark.parametrize(("value", "passes"), [("2001:db8::1", False), ("64:ff9b::", True)], ids=["theirs", "DNS64"])
def test_case_a8_verify_asks_for_another_way_over_ipv6(
    lab: Lab, order: dict[str, Any], value: str, passes: bool
) -> None:
    publish(lab, order).ok()
    provider = parse_provider(lab.site["dns"][1])
    where = provider.names(HOST, "minecraft", "tcp")
    found = provider.records(where, 25565)
    seed_cloudflare(lab, type="AAAA", name=where.host, content=f"{value}{provider.address}" if passes else value)
    instance = Instance(Registration(HOST, "of-5950", order["address"], 25565), None, [(provider, where, found)])
    proxy = open_proxy(
        parse_proxy(lab.site["proxy"]), Secrets(lab.state_dir / "lab/secrets.json"), run=no_host, timeout=1
    )
    check = next(one for one in checks(instance, proxy) if one.name == "dns cloudflare A")
    try:
        if passes:
            assert check.run(2) == provider.address
        else:
            with pytest.raises(CheckError, match=f"answers AAAA 2001:db8::1 for {where.host}, which leads players"):
                check.run(2)
    finally:
        remove_public(lab, where.host)


def no_host(module: str, arguments: dict[str, Any]) -> dict[str, Any]:
    raise AssertionError(f"{module} was run for a proxy with an API")


def test_dev_container_publishes_and_unpublishes_nothing(lab: Lab, game: dict[str, Any]) -> None:
    before = lab.inventory()
    dev = {"vmid": 6950, "ctype": "dev", "hostname": "dev-6950"}
    for run in (publish(lab, dev), unpublish(lab, dev)):
        assert run.ok().changed == []
    after = lab.inventory()
    assert (after["records"], after["registrations"]) == (before["records"], before["registrations"])


def test_rfc2136_publishes_marks_replaces_and_removes(lab: Lab, game: dict[str, Any]) -> None:
    dns = rfc2136(lab)
    host = f"{HOST}.lab.internal"
    technitium(lab, "add", domain=host, type="A", ipAddress="192.0.2.1", ttl="300")
    unmarked = publish(lab, game, hostwright_dns=dns).failure
    assert unmarked["code"] == "dns-failed"
    assert f"A 192.0.2.1 of {host} carries no mark of Hostwright and was not touched" in unmarked["msg"]
    exclusive = [entry | {"exclusive": True} for entry in dns]
    assert publish(lab, game, hostwright_dns=exclusive).ok().changed == [PUBLISH]
    mark = (f"_hostwright.{host}", "TXT", f'"Managed by Hostwright. instance={game["server_id"]}"', 60)
    assert records(lab, "internal") == sorted([*expected(lab, "internal"), mark])
    assert publish(lab, game, hostwright_dns=dns).ok().changed == []
    another = publish(lab, game, hostwright_dns=exclusive, server_id="another").failure
    assert f"carries the mark of Hostwright's instance {game['server_id']}" in another["msg"]
    assert unpublish(lab, game, hostwright_dns=dns).ok().changed == [GONE]
    assert_unpublished(lab)
    assert unpublish(lab, game, hostwright_dns=dns).ok().changed == []


@pytest.mark.parametrize(
    ("more", "secret", "words"),
    [
        ({}, "d3JvbmcgcGxhbnRlZCBzZWNyZXQ=", "rejects the TSIG signature: PeerBadSignature"),
        ({"key_name": "nobody"}, None, "rejects the TSIG signature: PeerBadKey"),
        ({"zone": "other.zone"}, None, "does it serve zone other.zone?"),
        ({}, "no base64!", "the TSIG secret is not base64"),
    ],
    ids=["wrong secret", "wrong key", "wrong zone", "no base64"],
)
def test_rfc2136_refusals_name_what_is_wrong(
    lab: Lab, game: dict[str, Any], tmp_path: Path, more: dict[str, str], secret: str | None, words: str
) -> None:
    secrets = other_secrets(lab, tmp_path, **({"rfc2136_key": secret} if secret else {}))
    run = publish(lab, game, hostwright_dns=rfc2136(lab, **more), hostwright_secrets_file=secrets)
    assert run.failure["code"] == "dns-failed"
    assert run.failure["msg"].startswith("primary: ")
    assert words in run.failure["msg"]
    assert records(lab, "internal") == []
