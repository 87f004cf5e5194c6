"""The driver of RFC 2136 against the lab's name server: what is really in the zone, and what is only answered."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest

from orchestrator.drivers.dns.base import DnsDriver
from orchestrator.drivers.dns.factory import open_driver, parse_provider, publications_of
from orchestrator.drivers.result import LaterError, PhaseError
from orchestrator.drivers.secrets import Secrets
from tests.support.edge import rfc2136
from tests.support.fix_lab import Lab
from tests.support.lab_dns import endpoint

HOST = "mc-5940"
NAME = f"{HOST}.lab.internal"
OWNER = f"_hostwright.{NAME}"


@pytest.fixture
def zone(clean_lab: Lab) -> Iterator[Lab]:
    """The lab, whose zone holds nothing at our names and no wildcard afterwards."""
    yield clean_lab
    clean_lab.clear_faults()
    update = signed_update(clean_lab)
    for name in ("*.lab.internal.", f"{NAME}.", f"_minecraft._tcp.{NAME}.", f"{OWNER}."):
        update.delete(name)
    send(clean_lab, update)


def signed_update(lab: Lab) -> dns.update.UpdateMessage:
    keyring = dns.tsigkeyring.from_text({"hostwright": ("hmac-sha256", lab.secrets["rfc2136_key"])})
    return dns.update.UpdateMessage("lab.internal", keyring=keyring)


def send(lab: Lab, update: dns.update.UpdateMessage) -> None:
    host, port = endpoint(lab, "internal")
    assert dns.query.tcp(update, host, port=port, timeout=5).rcode() == dns.rcode.NOERROR


def add(lab: Lab, name: str, kind: str, value: str) -> None:
    update = signed_update(lab)
    update.add(f"{name}.", 300, kind, value)
    send(lab, update)


def driver(lab: Lab, server_id: str = "ours", **more: Any) -> DnsDriver:
    secrets = Secrets(lab.state_dir / "lab" / "secrets.json")
    return open_driver(parse_provider(rfc2136(lab)[0] | more), secrets, server_id=server_id, timeout=5)


def ensure(one: DnsDriver, *, check: bool = False) -> bool:
    where = one.provider.names(HOST, "minecraft", "tcp")
    return one.ensure(where, one.provider.records(where, 25565), check=check)


def remove(one: DnsDriver, server_id: str = "ours") -> bool:
    where = one.provider.names(HOST, "minecraft", "tcp")
    return one.remove(publications_of(one.provider, where, one.provider.records(where, 25565), server_id))


def records(lab: Lab) -> list[tuple[str, str]]:
    """Type and value of what is really in the zone at our names."""
    return sorted((one["type"], one["value"]) for one in lab.inventory()["records"] if one["name"].endswith(NAME))


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"], ids=["referral", "cached negative"])
def test_answer_without_authority_is_never_read_as_gone(zone: Lab, rcode: str) -> None:
    ours = driver(zone)
    assert ensure(ours)
    there = records(zone)
    zone.fault(target="dns", rcode=rcode, view="internal")
    words = f"^primary: .* answers without authority for .*{NAME} [A-Z]+; does it serve zone lab.internal"
    for act in (remove, ensure):
        with pytest.raises(PhaseError, match=words) as caught:
            act(ours)
        assert caught.value.code == "dns-failed"
    zone.clear_faults()
    assert records(zone) == there
    assert remove(ours)
    assert records(zone) == []


WILDCARDS = {
    "A": ("A", "192.0.2.80"),
    "AAAA": ("AAAA", "2001:db8::80"),
    "alias": ("CNAME", "elsewhere.example."),
    "text": ("TXT", '"v=spf1 -all"'),
    "mark": ("TXT", '"Managed by Hostwright. instance=another"'),
}


@pytest.mark.parametrize("exclusive", [False, True], ids=["shared", "exclusive"])
@pytest.mark.parametrize("wildcard", WILDCARDS)
def test_wildcard_is_nobodys_record_at_our_name(zone: Lab, wildcard: str, exclusive: bool) -> None:
    add(zone, "*.lab.internal", *WILDCARDS[wildcard])
    ours = driver(zone, exclusive=exclusive)
    assert not remove(ours)
    assert ensure(ours, check=True)
    assert records(zone) == []
    assert ensure(ours)
    assert [kind for kind, _ in records(zone)] == ["A", "SRV", "TXT"]
    assert not ensure(ours)
    assert remove(ours)
    assert records(zone) == []
    assert not remove(ours)
    names = [one["name"] for one in zone.inventory()["records"]]
    assert "*.lab.internal" in names


def test_record_beside_a_wildcard_is_somebody_elses_all_the_same(zone: Lab) -> None:
    add(zone, "*.lab.internal", "A", "192.0.2.80")
    add(zone, NAME, "A", "192.0.2.81")
    with pytest.raises(PhaseError, match=f"A 192.0.2.81 of {NAME} carries no mark of Hostwright and was not touched"):
        ensure(driver(zone))
    assert records(zone) == [("A", "192.0.2.81")]
    assert ensure(driver(zone, exclusive=True))
    assert remove(driver(zone))


@pytest.mark.parametrize("exclusive", [False, True], ids=["shared", "exclusive"])
def test_note_that_a_person_added_does_not_change_whose_a_record_is(zone: Lab, exclusive: bool) -> None:
    ours = driver(zone, exclusive=exclusive)
    assert ensure(ours)
    there = records(zone)
    update = signed_update(zone)
    update.replace(f"{OWNER}.", 60, "TXT", '"Managed by Hostwright. instance=ours. Keep until May"')
    send(zone, update)
    with pytest.raises(PhaseError, match="carries the mark of Hostwright's instance ours and was not touched"):
        ensure(driver(zone, "another", exclusive=exclusive))
    assert not remove(driver(zone, "another"), "another")
    assert ensure(ours), "the mark is made right again"
    assert records(zone) == there
    send(zone, update)
    assert remove(ours)
    assert records(zone) == []


def test_case_b7_update_whose_answer_is_lost_may_have_happened(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)

        server = threading.Thread(target=hang_up)
        server.start()
        one = driver(lab, server=f"127.0.0.1:{port}")
        where = one.provider.names(HOST, "minecraft", "tcp")
        with pytest.raises(LaterError, match="no answer to the update") as caught:
            one.write([], one.provider.records(where, 25565))
        server.join()
    assert (caught.value.code, caught.value.asked) == ("dns-failed", False)
