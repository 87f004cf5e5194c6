"""The DNS drivers where no lab leads: races, pages, and servers that do not do what they say."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.domain.publications import Publication
from orchestrator.drivers.dns.base import DnsDriver, Provider
from orchestrator.drivers.dns.cloudflare import Cloudflare
from orchestrator.drivers.dns.factory import parse_provider
from orchestrator.drivers.dns.rfc2136 import Rfc2136
from orchestrator.drivers.dns.technitium import Technitium
from orchestrator.drivers.result import LaterError, PhaseError
from tests.support.http_server import Answer, Request, http_server

MARK = "Managed by Hostwright. instance=1"
A = {"id": "a", "type": "A", "name": "h.lab.example", "content": "192.0.2.7", "ttl": 60, "comment": MARK}
SRV = {
    "id": "s",
    "type": "SRV",
    "name": "_minecraft._tcp.h.lab.example",
    "data": {"priority": 0, "weight": 5, "port": 25565, "target": "h.lab.example"},
    "ttl": 60,
    "comment": MARK,
}


def provider(url: str, **more: Any) -> Provider:
    entry = {
        "name": "dns",
        "driver": "cloudflare",
        "zone": "lab.example",
        "zone_id": "z",
        "address": "192.0.2.7",
        "nameserver": "192.0.2.53",
        "url": url,
        "secret": "token",
    }
    return parse_provider(entry | more)


def cloudflare(url: str, **more: Any) -> DnsDriver:
    return Cloudflare(provider(url, **more), MARK, secret="planted", timeout=2)


def ensure(driver: DnsDriver) -> bool:
    where = driver.provider.names("h", "minecraft", "tcp")
    return driver.ensure(where, driver.provider.records(where, 25565))


def remove(driver: DnsDriver) -> bool:
    return driver.remove(
        [
            Publication("any", "dns/z", "A", "h.lab.example", "192.0.2.7"),
            Publication("any", "dns/z", "SRV", "_minecraft._tcp.h.lab.example", "0 5 25565 h.lab.example"),
        ]
    )


def listing(entries: list[dict[str, Any]], pages: int = 1) -> Answer:
    return Answer(200, {"success": True, "result": entries, "result_info": {"total_pages": pages}})


def refusal(status: int, code: int) -> Answer:
    return Answer(status, {"success": False, "errors": [{"code": code, "message": "no"}]})


def query(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


def test_cloudflare_identical_records_need_reads_only() -> None:
    with http_server(lambda _: listing([A, SRV])) as server:
        assert ensure(cloudflare(server.url)) is False
    assert {request.method for request in server.requests} == {"GET"}
    assert len(server.requests) == 2


def test_cloudflare_record_made_by_another_meanwhile_is_taken() -> None:
    created: list[dict[str, Any]] = []

    def respond(request: Request) -> Answer:
        if request.method == "POST":
            created.extend(one for one in (A, SRV) if one["type"] == request.json["type"])
            return refusal(400, 81058)
        return listing(created)

    with http_server(respond) as server:
        assert ensure(cloudflare(server.url)) is True


def test_cloudflare_record_deleted_by_another_meanwhile_counts_as_deleted() -> None:
    with http_server(lambda request: listing([A]) if request.method == "GET" else refusal(404, 81044)) as server:
        assert remove(cloudflare(server.url)) is True


def test_cloudflare_absent_is_success_without_a_second_request() -> None:
    with http_server(lambda _: listing([])) as server:
        assert remove(cloudflare(server.url)) is False
    assert [request.method for request in server.requests] == ["GET", "GET"]


def test_cloudflare_reads_every_page_and_only_our_names() -> None:
    other = A | {"id": "x", "name": "other.lab.example"}

    def respond(request: Request) -> Answer:
        return listing([other] if query(request)["page"] == "1" else [A, SRV], pages=2)

    with http_server(respond) as server:
        assert ensure(cloudflare(server.url)) is False


def test_cloudflare_proxied_record_is_replaced() -> None:
    served = [A | {"proxied": True}, SRV]

    def respond(request: Request) -> Answer:
        if request.method == "PUT":
            assert request.json["proxied"] is False
            served[0] = A
        return listing(served)

    with http_server(respond) as server:
        assert ensure(cloudflare(server.url)) is True
    assert "PUT /zones/z/dns_records/a" in server.calls


def technitium(url: str, **more: Any) -> DnsDriver:
    return Technitium(provider(url, **more), MARK, secret="planted", timeout=2)


FOREIGN = {"accounting's": "is marked as somebody else's (accounting's)", "": "carries no mark of Hostwright"}


def technitium_entry(kind: str, comments: str, name: str = "h.lab.example", **data: Any) -> dict[str, Any]:
    entry = {"name": name, "type": kind, "ttl": 60, "disabled": False, "rData": data}
    return entry | ({"comments": comments} if comments else {})


class TechnitiumZone:
    """Records by name, read and written as Technitium does; `overwrite` replaces a whole set."""

    def __init__(self, *entries: dict[str, Any]) -> None:
        self.entries = list(entries)

    def __call__(self, request: Request) -> Answer:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        kind = form.get("type")
        if request.path.endswith("/get"):
            found = [entry for entry in self.entries if entry["name"] == form["domain"]]
            return Answer(200, {"status": "ok", "response": {"records": found}})
        self.entries = [one for one in self.entries if (one["name"], one["type"]) != (form["domain"], kind)]
        if request.path.endswith("/add"):
            names = ("priority", "weight", "port", "target") if kind == "SRV" else ("ipAddress",)
            data = {name: form[name] for name in names}
            self.entries.append(technitium_entry(str(kind), form["comments"], form["domain"], **data))
        return Answer(200, {"status": "ok", "response": {}})


@pytest.mark.parametrize("comments", FOREIGN)
@pytest.mark.parametrize(
    ("kind", "data"),
    [("A", {"ipAddress": "192.0.2.7"}), ("AAAA", {"ipAddress": "2001:db8::1"}), ("CNAME", {"cname": "else.example"})],
    ids=["A", "AAAA", "CNAME"],
)
def test_technitium_record_of_somebody_else_is_not_touched(kind: str, data: dict[str, str], comments: str) -> None:
    zone = TechnitiumZone(technitium_entry(kind, comments, **data))
    before = list(zone.entries)
    with http_server(zone) as server:
        with pytest.raises(PhaseError, match=f"^dns: {kind} .* of h.lab.example ") as caught:
            ensure(technitium(server.url))
        assert not remove(technitium(server.url))
    assert FOREIGN[comments] in caught.value.message
    assert caught.value.message.endswith("when the whole zone is Hostwright's")
    assert (caught.value.code, zone.entries) == ("dns-failed", before)


def test_zone_that_is_wholly_ours_has_no_record_of_somebody_else() -> None:
    zone = TechnitiumZone(
        technitium_entry("A", "accounting's", ipAddress="192.0.2.9"),
        technitium_entry("AAAA", "", ipAddress="2001:db8::1"),
        technitium_entry("TXT", "", text="v=spf1"),
    )
    with http_server(zone) as server:
        assert ensure(technitium(server.url, exclusive=True)) is True
        assert ensure(technitium(server.url, exclusive=True)) is False
    assert [(entry["type"], entry.get("comments")) for entry in zone.entries] == [
        ("TXT", None), ("A", MARK), ("SRV", MARK)
    ]  # fmt: skip


@pytest.mark.parametrize("note", ["", " (moved by Eve)", ". Do not touch"], ids=["as it was", "noted", "said"])
@pytest.mark.parametrize("exclusive", [False, True])
def test_record_of_another_instance_is_never_touched(exclusive: bool, note: str) -> None:
    zone = TechnitiumZone(technitium_entry("A", f"Managed by Hostwright. instance=2{note}", ipAddress="192.0.2.7"))
    before = list(zone.entries)
    with http_server(zone) as server:
        with pytest.raises(PhaseError, match=r"carries the mark of Hostwright's instance 2 .*; delete that instance"):
            ensure(technitium(server.url, exclusive=exclusive))
        assert not remove(technitium(server.url, exclusive=exclusive))
    assert zone.entries == before


def test_record_of_ours_that_is_switched_off_is_written_again_and_removed() -> None:
    zone = TechnitiumZone(technitium_entry("A", MARK, ipAddress="192.0.2.7") | {"disabled": True})
    with http_server(zone) as server:
        assert ensure(technitium(server.url)) is True
        assert not any(entry["disabled"] for entry in zone.entries)
        for entry in zone.entries:
            entry["disabled"] = True
        assert remove(technitium(server.url)) is True
    assert zone.entries == []


def test_record_of_ours_with_a_note_of_somebody_is_ours() -> None:
    noted = technitium_entry("A", f"{MARK}. Keep until May", ipAddress="192.0.2.7")
    zone = TechnitiumZone(noted)
    with http_server(zone) as server:
        assert ensure(technitium(server.url)) is True
        assert {entry["comments"] for entry in zone.entries} == {MARK}
        zone.entries = [noted]
        assert remove(technitium(server.url)) is True
    assert zone.entries == []


def test_cloudflare_record_of_somebody_else_is_not_touched() -> None:
    with http_server(lambda _: listing([A | {"comment": "accounting's"}, SRV])) as server:
        with pytest.raises(PhaseError, match=r"A 192\.0\.2\.7 of h\.lab\.example is marked as somebody else's"):
            ensure(cloudflare(server.url))
        assert {request.method for request in server.requests} == {"GET"}
        assert remove(cloudflare(server.url)) is True, "the SRV is ours"
    deleted = [call for call in server.calls if call.startswith("DELETE")]
    assert deleted == ["DELETE /zones/z/dns_records/s"]


def test_cloudflare_zone_that_is_wholly_ours_keeps_one_record_a_name() -> None:
    served = [A | {"id": "x", "content": "192.0.2.9", "comment": None}, A | {"id": "c", "type": "AAAA"}, SRV]

    def respond(request: Request) -> Answer:
        if request.method == "DELETE":
            served[:] = [one for one in served if not request.path.endswith(f"/{one['id']}")]
        if request.method == "PUT":
            served[:] = [A, SRV]
        return listing(served)

    with http_server(respond) as server:
        assert ensure(cloudflare(server.url, exclusive=True)) is True
    assert [call for call in server.calls if not call.startswith("GET")] == [
        "DELETE /zones/z/dns_records/c", "PUT /zones/z/dns_records/x"
    ]  # fmt: skip


def test_change_that_does_not_read_back_is_a_failure() -> None:
    with (
        http_server(lambda _: Answer(200, {"status": "ok", "response": {"records": []}})) as server,
        pytest.raises(PhaseError, match=r"reads back nothing instead of SRV .*, A 192\.0\.2\.7") as caught,
    ):
        ensure(technitium(server.url))
    assert caught.value.code == "dns-failed"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(200, {"status": "error", "errorMessage": "No such zone was found: h"}), "create the zone lab.example"),
        (Answer(200, {"status": "invalid-token", "errorMessage": "Session expired."}), "valid API token as secret"),
        (Answer(200, {"status": "ok", "response": {}}), "without a list of records"),
        (Answer(200, b"<html>login</html>"), "HTTP 200: <html>login</html>"),
        (Answer(404, b""), "HTTP 404"),
    ],
    ids=["zone", "token", "no list", "no json", "404"],
)
def test_technitium_refusal_carries_its_words_and_a_remedy(answer: Answer, words: str) -> None:
    with (
        http_server(lambda _: answer) as server,
        pytest.raises(PhaseError, match=r"^dns: ") as caught,
    ):
        ensure(technitium(server.url))
    assert words in caught.value.message
    assert "planted" not in str(caught.value.detail)


def test_technitium_silence_names_the_provider() -> None:
    with pytest.raises(PhaseError, match=r"dns: .*refused.*is http://127.0.0.1:1 reachable"):
        ensure(technitium("http://127.0.0.1:1"))


def test_names_the_algorithms_when_it_knows_none_of_that_name() -> None:
    entry = replace(provider("unused"), key_name="hostwright", key_algorithm="hmac-sha257")
    with pytest.raises(PhaseError, match=r"^dns: unknown key_algorithm hmac-sha257; known: hmac-sha1, .*hmac-sha512$"):
        Rfc2136(entry, MARK, secret="cGxhbnRlZA==", timeout=2)


LEFT_ALONE = r"it wants to be left alone until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"


@pytest.mark.parametrize("open_driver", [technitium, cloudflare], ids=["technitium", "cloudflare"])
@pytest.mark.parametrize("status", [429, 503])
def test_case_b7_provider_says_until_when_it_wants_to_be_left_alone(
    open_driver: Callable[[str], DnsDriver], status: int
) -> None:
    with http_server(lambda _: Answer(status, {}, {"Retry-After": "300"})) as server:
        for act in (ensure, remove):
            started = time.monotonic()
            with pytest.raises(LaterError, match=LEFT_ALONE) as caught:
                act(open_driver(server.url))
            assert 298 < caught.value.at - started < 302
            assert (caught.value.code, caught.value.asked, caught.value.changed) == ("dns-failed", True, False)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "lost",
    [None, Answer(502, {}), Answer(503, {}, {"Retry-After": "1"})],
    ids=["closed", "502", "503"],
)
@pytest.mark.parametrize("happened", [True, False])
def test_case_b7_change_without_an_answer_is_judged_by_what_is_there(lost: Answer | None, happened: bool) -> None:
    zone, made = TechnitiumZone(), []

    def respond(request: Request) -> Answer | None:
        changes = not request.path.endswith("/get")
        made.append(changes)
        if not changes or made.count(True) > 1:
            return zone(request)
        if happened:
            zone(request)
        return lost

    with http_server(respond) as server:
        driver = Technitium(provider(server.url), MARK, secret="planted", timeout=5)
        assert ensure(driver) is True
    assert sorted(entry["type"] for entry in zone.entries) == ["A", "SRV"]
    assert made.count(True) == (2 if happened else 3), "only what is not there is written again"


def test_case_b7_waiting_for_a_provider_forgets_no_change() -> None:
    zone, made = TechnitiumZone(), []

    def respond(request: Request) -> Answer:
        made.append(request.path)
        # What is read back after both writes.
        return Answer(429, {}, {"Retry-After": "9"}) if len(made) == 5 else zone(request)

    with http_server(respond) as server:
        with pytest.raises(LaterError) as caught:
            ensure(technitium(server.url))
        assert caught.value.changed is True
        assert ensure(technitium(server.url)) is False


@pytest.mark.parametrize("off", [{"disabled": True}, {"expiryTtl": 900}], ids=["disabled", "expires"])
@pytest.mark.parametrize("kind", ["A", "SRV"])
def test_case_a9_record_that_is_off_is_written_again(kind: str, off: dict[str, Any]) -> None:
    zone = TechnitiumZone()
    with http_server(zone) as server:
        assert ensure(technitium(server.url)) is True
        entry = next(one for one in zone.entries if one["type"] == kind)
        entry.update(off)
        assert ensure(technitium(server.url)) is True
        assert ensure(technitium(server.url)) is False
        written = [call for call in server.calls if call.endswith("/add")]
    assert len(written) == 3
    assert not [one for one in zone.entries if one["disabled"] or one.get("expiryTtl")]


def test_case_a9_zone_that_is_off_is_named_and_records_are_removed_all_the_same() -> None:
    zone = TechnitiumZone()

    def respond(request: Request) -> Answer:
        answer = zone(request)
        answer.body["response"]["zone"] = {"name": "lab.example", "disabled": True}
        return answer

    words = r"reads back SRV .* \(switched off\), A 192\.0\.2\.7 \(switched off\).*; switch the zone and its records on"
    with http_server(respond) as server:
        with pytest.raises(PhaseError, match=words):
            ensure(technitium(server.url))
        assert remove(technitium(server.url)) is True
    assert zone.entries == []


def test_case_a8_address_that_does_not_go_away_is_named() -> None:
    theirs = A | {"id": "x", "type": "AAAA", "content": "2001:db8::1", "comment": None}
    with (
        http_server(lambda _: listing([A, SRV, theirs])) as server,
        pytest.raises(PhaseError, match=r"reads back .* AAAA 2001:db8::1 instead of"),
    ):
        ensure(cloudflare(server.url, exclusive=True))
    assert "DELETE /zones/z/dns_records/x" in server.calls
