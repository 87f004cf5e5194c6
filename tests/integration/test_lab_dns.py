"""The lab's name servers and dynamic updates over real sockets."""

import dns.flags
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.tsig
import dns.tsigkeyring
import dns.update
import pytest

from tests.support.fix_lab import Lab
from tests.support.lab_dns import ask, endpoint, technitium, values

SRV = {"priority": "0", "weight": "5", "port": "25565"}


# The name servers


@pytest.mark.parametrize("tcp", [False, True])
def test_resolve_answers_over_udp_and_tcp(lab: Lab, tcp: bool) -> None:
    technitium(lab, "add", domain="a.lab.internal", type="A", ipAddress="10.0.0.1", ttl="60", overwrite="true")
    response = ask(lab, "A.LAB.internal", "A", tcp=tcp)
    assert values(response) == ["10.0.0.1"]
    assert response.answer[0].ttl == 60
    assert response.flags & dns.flags.AA


def test_resolve_tells_no_name_from_no_type_from_no_zone(lab: Lab) -> None:
    name = "_minecraft._tcp.b.lab.internal"
    technitium(lab, "add", domain=name, type="SRV", target="b.lab.internal", ttl="60", overwrite="true", **SRV)
    assert ask(lab, "none.lab.internal", "A").rcode() == dns.rcode.NXDOMAIN
    # The names above a record exist too, without records of their own.
    for existing in (name, "_tcp.b.lab.internal", "b.lab.internal", "lab.internal"):
        response = ask(lab, existing, "A")
        assert (response.rcode(), values(response)) == (dns.rcode.NOERROR, [])
        assert response.authority[0].rdtype == dns.rdatatype.SOA
    assert ask(lab, "example.org", "A").rcode() == dns.rcode.REFUSED
    assert ask(lab, "a.lab.internal", "A", view="public").rcode() == dns.rcode.REFUSED


def test_resolve_makes_up_what_a_wildcard_says_of_names_that_do_not_exist(lab: Lab) -> None:
    technitium(lab, "add", domain="*.wild.lab.internal", type="A", ipAddress="10.0.0.7")
    technitium(lab, "add", domain="_tcp.real.wild.lab.internal", type="A", ipAddress="10.0.0.8")
    for name, found in (("any", ["10.0.0.7"]), ("deep.any", ["10.0.0.7"]), ("real", []), ("x.real", [])):
        assert values(ask(lab, f"{name}.wild.lab.internal", "A")) == found, name
    assert ask(lab, "any.wild.lab.internal", "SRV").rcode() == dns.rcode.NOERROR
    assert ask(lab, "x.real.wild.lab.internal", "A").rcode() == dns.rcode.NXDOMAIN


def test_resolver_finds_srv_and_its_target(lab: Lab) -> None:
    name = "_minecraft._tcp.c.lab.internal"
    technitium(lab, "add", domain="c.lab.internal", type="A", ipAddress="10.0.0.3", overwrite="true")
    technitium(lab, "add", domain=name, type="SRV", target="c.lab.internal", overwrite="true", **SRV)
    resolver = dns.resolver.Resolver(configure=False)
    host, resolver.port = endpoint(lab, "internal")
    resolver.nameservers = [host]
    assert resolver.resolve(name, "SRV")[0].to_text() == "0 5 25565 c.lab.internal."
    assert resolver.resolve("c.lab.internal", "A")[0].to_text() == "10.0.0.3"
    assert dns.resolver.zone_for_name("c.lab.internal", resolver=resolver).to_text() == "lab.internal."
    assert ask(lab, name, "SRV").additional[0].to_text().endswith("10.0.0.3")


def test_resolve_truncates_what_does_not_fit_a_datagram(lab: Lab) -> None:
    for number in range(60):
        technitium(lab, "add", domain="big.lab.internal", type="A", ipAddress=f"10.1.0.{number}")
    small = ask(lab, "big.lab.internal", "A")
    assert small.flags & dns.flags.TC
    assert len(values(ask(lab, "big.lab.internal", "A", tcp=True))) == 60
    technitium(lab, "add", domain="big.lab.internal", type="A", ipAddress="10.1.0.1", overwrite="true")
    assert values(ask(lab, "big.lab.internal", "A")) == ["10.1.0.1"]


def test_resolve_with_a_fault_gives_its_code_as_often_as_told(clean_lab: Lab) -> None:
    clean_lab.fault(target="dns", rcode="SERVFAIL", view="internal", times=1)
    assert ask(clean_lab, "lab.internal", "SOA", view="public").rcode() == dns.rcode.REFUSED
    assert ask(clean_lab, "lab.internal", "SOA").rcode() == dns.rcode.SERVFAIL
    assert ask(clean_lab, "lab.internal", "SOA").rcode() == dns.rcode.NOERROR


# Dynamic updates


def send_update(lab: Lab, message: dns.update.UpdateMessage) -> dns.rcode.Rcode:
    host, port = endpoint(lab, "public")
    return dns.query.tcp(message, host, port=port, timeout=5).rcode()


def make_signed_update(lab: Lab, *, key: str | None = None, name: str = "hostwright") -> dns.update.UpdateMessage:
    keyring = dns.tsigkeyring.from_text({name: ("hmac-sha256", key or lab.secrets["rfc2136_key"])})
    return dns.update.UpdateMessage("lab.example", keyring=keyring)


def test_update_adds_and_deletes_and_repeats_without_error(lab: Lab) -> None:
    add = make_signed_update(lab)
    add.add("u", 60, "A", "10.2.0.1")
    add.add("_minecraft._tcp.u", 60, "SRV", "0 5 25565 u.lab.example.")
    add.add("u", 60, "TXT", '"owner=1; x"')
    delete = make_signed_update(lab)
    delete.delete("u", "A", "10.2.0.1")
    delete.delete("u", "TXT")
    delete.delete("_minecraft._tcp.u")
    for _ in range(2):
        assert send_update(lab, add) == dns.rcode.NOERROR
    assert values(ask(lab, "u.lab.example", "TXT", view="public")) == ['"owner=1; x"']
    assert values(ask(lab, "u.lab.example", "A", view="public")) == ["10.2.0.1"]
    for _ in range(2):
        assert send_update(lab, delete) == dns.rcode.NOERROR
    assert ask(lab, "u.lab.example", "A", view="public").rcode() == dns.rcode.NXDOMAIN


def test_update_with_a_failed_prerequisite_changes_nothing(lab: Lab) -> None:
    first = make_signed_update(lab)
    first.absent("p")
    first.add("p", 60, "A", "10.2.0.2")
    assert send_update(lab, first) == dns.rcode.NOERROR
    second = make_signed_update(lab)
    second.absent("p")
    second.delete("p")
    second.add("q", 60, "A", "10.2.0.3")
    assert send_update(lab, second) == dns.rcode.YXDOMAIN
    other_value = make_signed_update(lab)
    other_value.present("p", "A", "10.2.0.9")
    other_value.delete("p")
    assert send_update(lab, other_value) == dns.rcode.NXRRSET
    missing = make_signed_update(lab)
    missing.present("p", "TXT")
    missing.delete("p")
    assert send_update(lab, missing) == dns.rcode.NXRRSET
    assert values(ask(lab, "p.lab.example", "A", view="public")) == ["10.2.0.2"]
    assert ask(lab, "q.lab.example", "A", view="public").rcode() == dns.rcode.NXDOMAIN


def test_update_with_one_bad_change_changes_nothing(lab: Lab) -> None:
    message = make_signed_update(lab)
    message.add("half", 60, "A", "10.2.0.4")
    message.add("half", 60, "HINFO", '"a" "b"')
    assert send_update(lab, message) == dns.rcode.REFUSED
    assert ask(lab, "half.lab.example", "A", view="public").rcode() == dns.rcode.NXDOMAIN


def test_update_without_a_right_key_is_refused(lab: Lab) -> None:
    unsigned = dns.update.UpdateMessage("lab.example")
    unsigned.add("x", 60, "A", "10.2.0.5")
    assert send_update(lab, unsigned) == dns.rcode.REFUSED
    wrong = make_signed_update(lab, key="d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc=")
    wrong.add("x", 60, "A", "10.2.0.5")
    with pytest.raises(dns.tsig.PeerBadSignature):
        send_update(lab, wrong)
    unknown = make_signed_update(lab, name="nobody")
    unknown.add("x", 60, "A", "10.2.0.5")
    with pytest.raises(dns.tsig.PeerBadKey):
        send_update(lab, unknown)
    other_zone = dns.update.UpdateMessage("example.org", keyring=make_signed_update(lab).keyring)
    other_zone.add("x", 60, "A", "10.2.0.5")
    assert send_update(lab, other_zone) == dns.rcode.NOTAUTH
    assert ask(lab, "x.lab.example", "A", view="public").rcode() == dns.rcode.NXDOMAIN
