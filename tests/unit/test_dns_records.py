"""Which records an instance has, and when they differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.drivers.dns.factory import DRIVERS, parse_provider, parse_providers
from orchestrator.drivers.dns.marks import first_untouchable, instance_in, mark_of
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
    "url": "https://10.0.0.3",
    "secret": "token",
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


def test_mark_names_its_instance_and_other_notes_name_none() -> None:
    assert instance_in(mark_of("f3a1")) == "f3a1"
    assert instance_in("accounting's") is None
    assert instance_in("see Managed by Hostwright. instance=f3a1") is None


@pytest.mark.parametrize(
    ("mark", "exclusive", "touchable"),
    [
        (mark_of("1"), False, True),
        ("accounting's", False, False),
        ("", False, False),
        (mark_of("2"), False, False),
        ("accounting's", True, True),
        ("", True, True),
        (mark_of("2"), True, False),
    ],
)
def test_touches_only_its_own_and_in_an_exclusive_zone_what_is_no_instances(
    mark: str, exclusive: bool, touchable: bool
) -> None:
    record = Record(WHERE.host, "A", "192.0.2.7", mark=mark)
    assert first_untouchable([record], mark_of("1"), exclusive=exclusive) == (None if touchable else record)


@pytest.mark.parametrize("driver", DRIVERS)
def test_driver_needs_what_it_says(driver: str) -> None:
    whole = ENTRY | {"driver": driver} | dict.fromkeys(DRIVERS[driver].NEEDS, "x")
    assert parse_provider(whole).driver == driver
    for name in DRIVERS[driver].NEEDS:
        with pytest.raises(PhaseError, match=f"hostwright_dns entry internal: missing {name}"):
            parse_provider(whole | {name: ""})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"adress": "10.0.0.1"}, "unknown adress"),
        ({"address": ""}, "missing address"),
        ({"driver": "bind"}, "unknown driver bind; known: technitium, cloudflare, rfc2136"),
        ({"driver": ""}, "missing driver"),
        ({"exclusive": "yes"}, "exclusive is neither true nor false"),
    ],
    ids=["typo", "missing", "driver", "no driver", "exclusive"],
)
def test_typo_of_an_entry_is_refused_by_name(change: dict[str, str], words: str) -> None:
    with pytest.raises(PhaseError, match=f"hostwright_dns entry internal: {words}") as caught:
        parse_provider(ENTRY | change)
    assert caught.value.code == "internal"


def test_entries_have_names_of_their_own() -> None:
    assert [one.name for one in parse_providers([ENTRY, ENTRY | {"name": "public"}])] == ["internal", "public"]
    with pytest.raises(PhaseError, match="hostwright_dns has two entries named internal"):
        parse_providers([ENTRY, ENTRY])
