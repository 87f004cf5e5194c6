"""The DNS drivers where no lab leads: races, pages, and servers that do not do what they say."""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.drivers.dns.base import DnsDriver, Provider
from orchestrator.drivers.dns.cloudflare import Cloudflare
from orchestrator.drivers.dns.rfc2136 import Rfc2136
from orchestrator.drivers.dns.technitium import Technitium
from orchestrator.drivers.result import PhaseError
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


def provider(url: str) -> Provider:
    return Provider.parse(
        {
            "name": "dns",
            "driver": "any",
            "zone": "lab.example",
            "zone_id": "z",
            "address": "192.0.2.7",
            "nameserver": "192.0.2.53",
            "url": url,
            "secret": "token",
        }
    )


def cloudflare(url: str) -> DnsDriver:
    return Cloudflare(provider(url), MARK, token="planted", timeout=2)


def ensure(driver: DnsDriver) -> bool:
    where = driver.provider.names("h", "minecraft", "tcp")
    return driver.ensure(where, driver.provider.records(where, 25565))


def remove(driver: DnsDriver) -> bool:
    return driver.remove(driver.provider.names("h", "minecraft", "tcp"))


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


def technitium(url: str) -> DnsDriver:
    return Technitium(provider(url), MARK, token="planted", timeout=2)


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
        Rfc2136(entry, MARK, key="cGxhbnRlZA==", timeout=2)
