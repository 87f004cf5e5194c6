"""The lab's Technitium API over TLS."""

from email.utils import parsedate_to_datetime

import dns.rcode
import httpx
import pytest

from tests.support.fix_lab import Lab, tls_context
from tests.support.lab_dns import ask, technitium, technitium_zone, values

SRV = {"priority": "0", "weight": "5", "port": "25565"}


def test_technitium_add_appends_and_overwrite_replaces(lab: Lab) -> None:
    record = {"domain": "t1.lab.internal", "type": "A"}
    assert technitium(lab, "add", ipAddress="10.3.0.1", **record)["status"] == "ok"
    again = technitium(lab, "add", ipAddress="10.3.0.1", **record)
    assert again == {"status": "error", "errorMessage": "Cannot add record: record already exists."}
    technitium(lab, "add", ipAddress="10.3.0.2", **record)
    assert values(ask(lab, "t1.lab.internal", "A")) == ["10.3.0.1", "10.3.0.2"]
    for _ in range(2):
        replaced = technitium(lab, "add", ipAddress="10.3.0.3", ttl="60", overwrite="true", **record)
        assert replaced["status"] == "ok"
    shown = technitium(lab, "get", domain="t1.lab.internal")["response"]
    assert shown["zone"]["name"] == "lab.internal"
    rdata = [(r["type"], r["ttl"], r["rData"]) for r in shown["records"]]
    assert rdata == [("A", 60, {"ipAddress": "10.3.0.3"})]


def test_technitium_delete_takes_the_exact_value_only(lab: Lab) -> None:
    record = {"domain": "_minecraft._tcp.t2.lab.internal", "type": "SRV", "target": "t2.lab.internal"}
    technitium(lab, "add", **record, **SRV)
    rdata = technitium(lab, "get", domain=record["domain"])["response"]["records"][0]["rData"]
    assert rdata == {"priority": 0, "weight": 5, "port": 25565, "target": "t2.lab.internal"}
    absent = "Cannot delete record: no such record exists."
    other = technitium(lab, "delete", **record, **(SRV | {"weight": "6"}))
    assert other == {"status": "error", "errorMessage": absent}
    assert technitium(lab, "delete", **record, **SRV)["status"] == "ok"
    assert technitium(lab, "delete", **record, **SRV)["errorMessage"] == absent
    assert technitium(lab, "get", domain=record["domain"])["response"]["records"] == []


def test_technitium_update_moves_a_record(lab: Lab) -> None:
    technitium(lab, "add", domain="t3.lab.internal", type="A", ipAddress="10.3.0.5", overwrite="true")
    change = {"ipAddress": "10.3.0.5", "newIpAddress": "10.3.0.6"}
    assert technitium(lab, "update", domain="t3.lab.internal", type="A", **change)["status"] == "ok"
    assert values(ask(lab, "t3.lab.internal", "A")) == ["10.3.0.6"]
    assert technitium(lab, "update", domain="t3.lab.internal", type="A", **change)["status"] == "error"


def test_technitium_errors_are_worded_as_the_server_words_them(lab: Lab) -> None:
    record = {"domain": "t4.lab.internal", "type": "A"}
    assert technitium(lab, "add", **record)["errorMessage"] == "Parameter 'ipAddress' missing."
    unknown = technitium(lab, "get", domain="t4.example.org")
    assert unknown["errorMessage"] == "No such zone was found: t4.example.org"
    invalid = technitium(lab, "add", token="wrong", ipAddress="10.3.0.7", **record)
    assert invalid == {"status": "invalid-token", "errorMessage": "Invalid token or session expired."}
    readonly = lab.secrets["technitium_readonly_token"]
    denied = technitium(lab, "add", token=readonly, ipAddress="10.3.0.7", **record)
    assert denied["errorMessage"] == "Access was denied."
    assert technitium(lab, "get", token=readonly, **record)["status"] == "ok"
    assert technitium(lab, "add", ipAddress="10.3.0.7\n", ttl="soon", **record)["status"] == "error"


def test_technitium_takes_get_and_the_token_parameter(lab: Lab) -> None:
    url = f"{lab.urls['technitiumUrl']}/api/zones/records/get"
    with httpx.Client(verify=tls_context(lab), trust_env=False) as client:
        without = client.get(url, params={"domain": "lab.internal"})
        token = {"token": lab.secrets["technitium_token"]}
        given = client.get(url, params={"domain": "lab.internal", "listZone": "true", **token})
    assert without.json()["errorMessage"] == "Parameter 'token' missing."
    assert given.json()["status"] == "ok"


def test_technitium_refuses_a_client_that_does_not_know_the_authority(lab: Lab) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(lab.urls["technitiumUrl"], trust_env=False)


def test_technitium_with_a_fault_says_no_as_often_as_told(clean_lab: Lab) -> None:
    clean_lab.fault(target="technitium", status="error", errorMessage="Disk is full.", path="/add", times=1)
    record = {"domain": "t5.lab.internal", "type": "A", "ipAddress": "10.3.0.8"}
    assert technitium(clean_lab, "get", domain="t5.lab.internal")["status"] == "ok"
    assert technitium(clean_lab, "add", **record)["errorMessage"] == "Disk is full."
    assert technitium(clean_lab, "add", **record)["status"] == "ok"


def test_technitium_keeps_what_is_disabled_and_does_not_serve_it(lab: Lab) -> None:
    record = {"domain": "t5.lab.internal", "type": "A", "ipAddress": "10.3.0.8"}
    technitium(lab, "add", **record)
    technitium(lab, "update", disable="true", **record)
    assert [r["disabled"] for r in technitium(lab, "get", domain=record["domain"])["response"]["records"]] == [True]
    assert values(ask(lab, record["domain"], "A")) == []
    technitium(lab, "update", **record)
    assert values(ask(lab, record["domain"], "A")) == ["10.3.0.8"]
    technitium_zone(lab, "disable", zone="lab.internal")
    try:
        assert technitium(lab, "get", domain=record["domain"])["response"]["zone"]["disabled"] is True
        assert ask(lab, record["domain"], "A").rcode() == dns.rcode.REFUSED
    finally:
        technitium_zone(lab, "enable", zone="lab.internal")
    assert values(ask(lab, record["domain"], "A")) == ["10.3.0.8"]
    assert technitium(lab, "delete", **record)["status"] == "ok"


def test_service_with_a_fault_says_when_to_come_back(clean_lab: Lab) -> None:
    urls = {
        "technitium": f"{clean_lab.urls['technitiumUrl']}/api/zones/records/get",
        "velocity": f"{clean_lab.urls['velocityUrl']}/zpack/status",
        "mc-router": f"{clean_lab.urls['mcRouterUrl']}/routes",
    }
    with httpx.Client(verify=tls_context(clean_lab), trust_env=False) as client:
        for target, url in urls.items():
            clean_lab.fault(target=target, httpStatus=429, retryAfter=7, times=1)
            clean_lab.fault(target=target, httpStatus=503, retryDate=60, times=1)
            limited, away = client.get(url), client.get(url)
            assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
            assert away.status_code == 503
            said, told = (parsedate_to_datetime(away.headers[name]) for name in ("retry-after", "date"))
            assert 59 <= (said - told).total_seconds() <= 61
