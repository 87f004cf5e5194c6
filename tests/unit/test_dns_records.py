"""Which records an instance has, and when they differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.drivers.dns.base import Provider
from orchestrator.drivers.dns.factory import mark_of
from orchestrator.drivers.dns.records import (
    Names,
    Record,
    RecordError,
    describe,
    differing,
    names,
    srv_parts,
    srv_value,
    wanted,
)
from orchestrator.drivers.result import PhaseError

WHERE = names("mc-vanilla-5000", "lab.example", "minecraft", "tcp")
ENTRY = {
    "name": "internal",
    "driver": "technitium",
    "zone": "lab.internal",
    "address": "10.0.0.1",
    "nameserver": "10.0.0.2",
}


def test_names_are_below_the_zone_and_lower_case() -> None:
    assert Names("mc-vanilla-5000.lab.example", "_minecraft._tcp.mc-vanilla-5000.lab.example") == WHERE
    assert names("a", "Lab.Example.", "minecraft", "tcp").host == "a.lab.example"


def test_pain_5_the_service_and_protocol_are_the_games() -> None:
    assert names("a", "z", "factorio", "udp").service == "_factorio._udp.a.z"


@pytest.mark.parametrize("hostname", ["", "*", "@", "a.b", "-a", "a-", "A", "a_b", "a" * 64, "a\n", "{{ x }}"])
def test_names_refuses_what_is_not_one_host(hostname: str) -> None:
    with pytest.raises(RecordError, match="host name"):
        names(hostname, "lab.example", "minecraft", "tcp")


@pytest.mark.parametrize("zone", ["", ".", "a..b", "*.example", "a b"])
def test_names_refuses_what_is_not_a_zone(zone: str) -> None:
    with pytest.raises(RecordError, match="zone"):
        names("a", zone, "minecraft", "tcp")


@given(st.text(max_size=70))
def test_names_never_leave_the_zone(hostname: str) -> None:
    try:
        where = names(hostname, "lab.example", "minecraft", "tcp")
    except RecordError:
        return
    assert where.host.count(".") == 2
    assert where.host.endswith(".lab.example")
    assert not where.host.startswith(("*", "."))


def test_wanted_points_at_the_edge_and_the_host_itself() -> None:
    a, srv = wanted(WHERE, "192.0.2.7", 25565)
    assert (a.name, a.type, a.value, a.ttl) == (WHERE.host, "A", "192.0.2.7", 60)
    assert (srv.name, srv.type, srv.ttl) == (WHERE.service, "SRV", 60)
    assert srv_parts(srv.value) == (0, 5, 25565, WHERE.host)


@pytest.mark.parametrize("address", ["", "edge.example", "2001:db8::1", "10.0.0.256"])
def test_wanted_refuses_an_address_that_is_none(address: str) -> None:
    with pytest.raises(RecordError, match="IPv4"):
        wanted(WHERE, address, 25565)


def test_srv_value_is_canonical() -> None:
    assert srv_value("0", 5, "25565", "Host.Example.") == "0 5 25565 host.example"


def test_differing_is_empty_for_exactly_the_desired_records() -> None:
    desired = wanted(WHERE, "192.0.2.7", 25565)
    assert differing(list(reversed(desired)), desired) == []


@pytest.mark.parametrize(
    "found",
    [
        [],
        [Record(WHERE.host, "A", "192.0.2.8")],
        [Record(WHERE.host, "A", "192.0.2.7", ttl=300)],
        [Record(WHERE.host, "A", "192.0.2.7"), Record(WHERE.host, "A", "192.0.2.8")],
        [Record(WHERE.host, "A", "192.0.2.7", mark="another instance")],
    ],
    ids=["absent", "stale", "other ttl", "one too many", "other mark"],
)
def test_differing_names_what_has_to_change(found: list[Record]) -> None:
    a, srv = wanted(WHERE, "192.0.2.7", 25565)
    assert differing([*found, srv], [a, srv]) == [a]


def test_differing_ignores_the_providers_handle() -> None:
    a = Record(WHERE.host, "A", "192.0.2.7")
    assert differing([Record(WHERE.host, "A", "192.0.2.7", ref="abc")], [a]) == []


def test_describe_is_for_people() -> None:
    assert describe([]) == "nothing"
    assert describe([Record("b", "A", "1.2.3.4"), Record("a", "A", "1.2.3.3")]) == "A 1.2.3.3, A 1.2.3.4"


def test_mark_fits_a_comment_and_a_text_record() -> None:
    assert mark_of("f3a1") == "Managed by Hostwright. instance=f3a1"
    assert mark_of('x" "y\\') == "Managed by Hostwright. instance=xy"
    assert len(mark_of("x" * 500)) == 100


def test_provider_parse_takes_an_entry() -> None:
    assert Provider.parse(ENTRY).zone == "lab.internal"


@pytest.mark.parametrize("change", [{"adress": "10.0.0.1"}, {"address": ""}], ids=["typo", "missing"])
def test_provider_parse_refuses_a_typo_by_name(change: dict[str, str]) -> None:
    with pytest.raises(PhaseError, match=r"internal.*adress|internal.*address") as caught:
        Provider.parse(ENTRY | change)
    assert caught.value.code == "internal"
