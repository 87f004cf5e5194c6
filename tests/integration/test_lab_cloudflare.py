"""The lab's Cloudflare API over TLS."""

import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.support.fix_lab import Lab, tls_context
from tests.support.lab_dns import ask, technitium, values


@pytest.fixture
def cloudflare(lab: Lab) -> Iterator[httpx.Client]:
    """A client whose paths begin below the zone."""
    provider = lab.site["dns"][1]
    client = httpx.Client(
        base_url=f"{provider['url']}/zones/{provider['zone_id']}",
        verify=tls_context(lab),
        trust_env=False,
        headers={"Authorization": f"Bearer {lab.secrets['cloudflare_token']}"},
    )
    with closing(client):
        yield client


def error_code(response: httpx.Response) -> int:
    body = response.json()
    assert body["success"] is False
    number: int = body["errors"][0]["code"]
    return number


def make_record(name: str, content: str, **more: object) -> dict[str, object]:
    return {"type": "A", "name": name, "content": content, "ttl": 60, "proxied": False, **more}


def test_cloudflare_record_lives_from_post_to_delete(lab: Lab, cloudflare: httpx.Client) -> None:
    name = "_minecraft._tcp.f1.lab.example"
    data = {"priority": 0, "weight": 5, "port": 25565, "target": "f1.lab.example"}
    made = cloudflare.post("/dns_records", json={"type": "SRV", "name": name, "ttl": 60, "data": data}).json()
    assert made["success"]
    assert made["result"]["data"] == data
    assert values(ask(lab, name, "SRV", view="public")) == ["0 5 25565 f1.lab.example."]
    path = f"/dns_records/{made['result']['id']}"
    patched = cloudflare.patch(path, json={"comment": "ours", "data": data | {"port": 25566}}).json()["result"]
    assert (patched["data"]["port"], patched["comment"], patched["ttl"]) == (25566, "ours", 60)
    assert cloudflare.get(path).json()["result"] == patched
    assert values(ask(lab, name, "SRV", view="public")) == ["0 5 25566 f1.lab.example."]
    put = cloudflare.put(path, json={"type": "SRV", "name": name, "ttl": 120, "data": data}).json()["result"]
    assert (put["id"], put["comment"], put["ttl"]) == (patched["id"], None, 120)
    assert cloudflare.delete(path).json()["result"] == {"id": put["id"]}
    gone = cloudflare.delete(path)
    assert (gone.status_code, error_code(gone)) == (404, 81044)


def test_cloudflare_tells_identical_from_second_record(lab: Lab, cloudflare: httpx.Client) -> None:
    record = make_record("f2.lab.example", "10.4.0.1")
    assert cloudflare.post("/dns_records", json=record).is_success
    again = cloudflare.post("/dns_records", json=record)
    assert (again.status_code, error_code(again)) == (400, 81057)
    assert cloudflare.post("/dns_records", json=record | {"content": "10.4.0.2"}).is_success
    assert values(ask(lab, "f2.lab.example", "A", view="public")) == ["10.4.0.1", "10.4.0.2"]
    alias = {"type": "CNAME", "name": "f2.lab.example", "content": "x.lab.example", "ttl": 60}
    assert error_code(cloudflare.post("/dns_records", json=alias)) == 81053


def test_cloudflare_lists_by_name_and_type_in_pages(cloudflare: httpx.Client) -> None:
    for number in range(5):
        cloudflare.post("/dns_records", json=make_record("f3.lab.example", f"10.4.1.{number}", comment="mark"))
    query = {"name.exact": "f3.lab.example", "type": "A", "per_page": "2"}
    pages = [cloudflare.get("/dns_records", params=query | {"page": str(n)}).json() for n in (1, 2, 3, 4)]
    assert [len(page["result"]) for page in pages] == [2, 2, 1, 0]
    assert len({record["id"] for page in pages for record in page["result"]}) == 5
    assert {record["comment"] for record in pages[0]["result"]} == {"mark"}
    info = {"page": 3, "per_page": 2, "count": 1, "total_count": 5, "total_pages": 3}
    assert pages[2]["result_info"] == info
    for older in ({"name": "f3.lab.example", "type": "SRV"}, {"name": "other.lab.example"}):
        assert cloudflare.get("/dns_records", params=older).json()["result"] == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"content": "nonsense"}, 9005),
        ({"content": "10.4.0.1 10.4.0.2"}, 9005),
        ({"ttl": 59}, 9021),
        ({"ttl": "60"}, 9021),
        ({"type": "NOTYPE"}, 1004),
        ({"comment": "x" * 101}, 1004),
        ({"name": ""}, 9000),
        ({"type": "SRV"}, 1004),
        ({"type": "SRV", "data": {"priority": 0, "weight": 0, "port": 70000, "target": "x"}}, 9005),
    ],
)
def test_cloudflare_refuses_bad_content(cloudflare: httpx.Client, change: dict[str, object], expected: int) -> None:
    response = cloudflare.post("/dns_records", json=make_record("f4.lab.example", "10.4.0.1") | change)
    assert (response.status_code, error_code(response)) == (400, expected)
    assert cloudflare.get("/dns_records", params={"name": "f4.lab.example"}).json()["result"] == []


def test_cloudflare_gives_a_token_its_rights_only(lab: Lab, cloudflare: httpx.Client) -> None:
    def with_token(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    record = make_record("f5.lab.example", "10.4.0.1")
    readonly = with_token(lab.secrets["cloudflare_readonly_token"])
    denied = cloudflare.post("/dns_records", json=record, headers=readonly)
    assert (denied.status_code, error_code(denied)) == (403, 10000)
    assert cloudflare.get("/dns_records", headers=readonly).is_success
    unknown = cloudflare.get("/dns_records", headers=with_token("wrong"))
    assert (unknown.status_code, error_code(unknown)) == (401, 10000)
    malformed = cloudflare.get("/dns_records", headers={"Authorization": "wrong"})
    assert (malformed.status_code, error_code(malformed)) == (400, 6003)
    zones = lab.urls["cloudflareUrl"] + "/zones"
    foreign_zone = cloudflare.get(f"{zones}/{'0' * 32}/dns_records")
    assert (foreign_zone.status_code, error_code(foreign_zone)) == (403, 10000)
    bad_zone = cloudflare.get(f"{zones}/lab.example/dns_records")
    assert (bad_zone.status_code, error_code(bad_zone)) == (400, 7003)


def test_cloudflare_with_a_fault_limits_the_rate(clean_lab: Lab, cloudflare: httpx.Client) -> None:
    limit = {"httpStatus": 429, "code": 10429, "message": "Too many requests", "retryAfter": 2, "times": 1}
    clean_lab.fault(target="cloudflare", **limit)
    limited = cloudflare.get("/dns_records")
    assert (limited.status_code, limited.headers["retry-after"], error_code(limited)) == (429, "2", 10429)
    assert cloudflare.get("/dns_records").is_success


def test_hanging_provider_lets_the_others_answer(clean_lab: Lab, cloudflare: httpx.Client) -> None:
    clean_lab.fault(target="cloudflare", hang=30)
    started = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        cloudflare.get("/dns_records", timeout=0.2)
    assert technitium(clean_lab, "get", domain="lab.internal")["status"] == "ok"
    assert time.monotonic() - started < 5
