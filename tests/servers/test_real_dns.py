"""publish_edge and unpublish_edge with RFC 2136 against Debian's authoritative servers, read through a resolver."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import dns.resolver
import dns.tsigkeyring
import dns.update
import pytest

from orchestrator.domain.publications import Publication
from orchestrator.drivers.dns.base import DnsDriver
from orchestrator.drivers.dns.factory import open_driver, parse_provider, publications_of
from orchestrator.drivers.dns.records import Names, Record
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets
from tests.servers.name_servers import ALIAS, AUTHORITIES, KEY, ZONE, unbound
from tests.servers.programs import required
from tests.support.edge import (
    GONE,
    HOST,
    PUBLISH,
    VERIFY,
    VMID,
    other_secrets,
    publish,
    unpublish,
)
from tests.support.fix_lab import Lab
from tests.support.playbook import CONFIGURE, CREATE, DELETE, play

NAME = f"{HOST}.{ZONE}"
SERVICE = f"_minecraft._tcp.{NAME}"
OWNER = f"_hostwright.{NAME}"


@dataclass(frozen=True)
class Servers:
    """An authoritative server, a resolver that asks it, and the lab in which the game and its proxy are."""

    kind: str
    authority: str
    resolver: str
    lab: Lab

    def dns(self, **more: Any) -> list[dict[str, Any]]:
        """The entry of `hostwright_dns`: updates go to the authority, players and our checks ask the resolver."""
        entry = {
            "name": "real", "driver": "rfc2136", "zone": ZONE, "address": self.lab.site["dns"][0]["address"],
            "server": self.authority, "nameserver": self.resolver, "key_name": KEY, "secret": "rfc2136_key",
        }  # fmt: skip
        return [entry | more]

    def driver(self, server_id: str, **more: Any) -> DnsDriver:
        secrets = Secrets(self.lab.state_dir / "lab" / "secrets.json")
        return open_driver(parse_provider(self.dns(**more)[0]), secrets, server_id=server_id, timeout=5)

    def records(self, name: str, kind: str, *options: str) -> list[str]:
        """What kdig is told by the resolver."""
        return kdig(self.resolver, name, kind, *options)


def kdig(server: str, name: str, kind: str, *options: str) -> list[str]:
    address, _, port = server.partition(":")
    command = [required("kdig"), f"@{address}", "-p", port, "+short", "+retry=0", *options, name, kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sorted(done.stdout.splitlines())


@pytest.fixture(scope="module")
def game(lab: Lab) -> Iterator[dict[str, Any]]:
    """A game server that runs and is not published."""
    order = {"vmid": VMID, "server_id": "f1e2d3c4-0000-4000-8000-000000005951"}
    run = play((*CREATE, *CONFIGURE), lab.state_dir, order).ok()
    yield order | {"address": run.result("Wait for the address")["address"]}
    play(DELETE, lab.state_dir, order).ok()


@pytest.fixture(scope="module", params=sorted(AUTHORITIES))
def servers(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Servers]:
    with ExitStack() as stack:
        homes = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostwright-dns-"))) for _ in range(2)]
        authority = stack.enter_context(AUTHORITIES[request.param](homes[0], lab.secrets["rfc2136_key"]))
        yield Servers(request.param, authority, stack.enter_context(unbound(homes[1], authority)), lab)


@pytest.fixture
def order(servers: Servers, game: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The game, for a test that publishes it."""
    order = game | {"hostwright_dns": servers.dns()}
    yield order
    unpublish(servers.lab, order).ok()


def assert_published(servers: Servers, server_id: str) -> None:
    address = servers.lab.site["dns"][0]["address"]
    for transport in ("+notcp", "+tcp"):
        assert servers.records(NAME, "A", transport) == [address]
        assert servers.records(SERVICE, "SRV", transport) == [f"0 5 25565 {NAME}."]
        assert servers.records(OWNER, "TXT", transport) == [f'"Managed by Hostwright. instance={server_id}"']


def assert_absent(servers: Servers) -> None:
    for name, kind in ((NAME, "A"), (SERVICE, "SRV"), (OWNER, "TXT")):
        assert servers.records(name, kind) == []


def test_publishes_once_and_removes_once(servers: Servers, order: dict[str, Any]) -> None:
    assert unpublish(servers.lab, order).ok().changed == [], "what is absent is no error and no change"
    first = publish(servers.lab, order).ok()
    assert first.changed == [PUBLISH]
    assert first.result(VERIFY)["done"]
    assert_published(servers, order["server_id"])
    serial = servers.records(ZONE, "SOA")
    assert publish(servers.lab, order).ok().changed == []
    assert servers.records(ZONE, "SOA") == serial, "the second run sent no update"
    assert unpublish(servers.lab, order).ok().changed == [GONE]
    assert_absent(servers)
    assert unpublish(servers.lab, order).ok().changed == []
    assert servers.records(f"mail.{ZONE}", "A") == ["192.0.2.25"]
    assert servers.lab.secrets["rfc2136_key"] not in first.output


def test_check_mode_says_what_it_would_do_and_sends_nothing(servers: Servers, order: dict[str, Any]) -> None:
    serial = servers.records(ZONE, "SOA")
    assert publish(servers.lab, order, "--check").ok().result(PUBLISH)["changed"]
    assert servers.records(ZONE, "SOA") == serial
    assert_absent(servers)


def test_is_found_by_who_looks_as_a_player_does(servers: Servers, order: dict[str, Any]) -> None:
    publish(servers.lab, order).ok()
    address, _, port = servers.resolver.partition(":")
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [address], int(port)
    for tcp in (False, True):
        (service,) = resolver.resolve(SERVICE, "SRV", tcp=tcp)
        (edge,) = resolver.resolve(service.target, "A", tcp=tcp)
        assert (service.port, edge.to_text()) == (25565, servers.lab.site["dns"][0]["address"])


def test_replaces_what_is_stale_and_leaves_other_types_alone(servers: Servers, order: dict[str, Any]) -> None:
    old = servers.driver(order["server_id"], address="192.0.2.1")
    where = old.provider.names(HOST, "minecraft", "tcp")
    old.ensure(where, old.provider.records(where, 1))
    send(servers, lambda update: update.add(f"{NAME}.", 300, "TXT", "theirs"))
    assert publish(servers.lab, order).ok().changed == [PUBLISH]
    assert_published(servers, order["server_id"])
    assert unpublish(servers.lab, order).ok().changed == [GONE]
    assert servers.records(NAME, "TXT") == ['"theirs"']
    send(servers, lambda update: update.delete(f"{NAME}.", "TXT"))


@pytest.mark.parametrize(("kind", "value"), [("A", "192.0.2.66"), ("AAAA", "2001:db8::1")])
def test_record_of_somebody_else_is_refused_unless_the_zone_is_ours(
    servers: Servers, order: dict[str, Any], kind: str, value: str
) -> None:
    send(servers, lambda update: update.add(f"{NAME}.", 300, kind, value))
    failure = publish(servers.lab, order).failure
    assert failure["code"] == "dns-failed"
    assert f"real: {kind} {value} of {NAME} carries no mark of Hostwright and was not touched" in failure["msg"]
    assert unpublish(servers.lab, order).ok().changed == []
    assert servers.records(NAME, kind) == [value]
    publish(servers.lab, order | {"hostwright_dns": servers.dns(exclusive=True)}).ok()
    assert_published(servers, order["server_id"])
    assert servers.records(NAME, "AAAA") == []


def test_two_sites_on_one_zone_never_touch_each_others(servers: Servers) -> None:
    ours, theirs = servers.driver("ours", exclusive=True), servers.driver("theirs")
    where, wanted = names(theirs)
    theirs.ensure(where, wanted)
    with pytest.raises(PhaseError, match="carries the mark of Hostwright's instance theirs and was not touched"):
        ours.ensure(where, wanted)
    assert not ours.remove(published(ours, "ours"))
    assert theirs.ensure(where, wanted) is False
    assert theirs.remove(published(theirs, "theirs"))
    assert_absent(servers)


def test_refuses_to_write_over_who_wrote_meanwhile(servers: Servers) -> None:
    ours, theirs = servers.driver("ours"), servers.driver("theirs")
    where, wanted = names(ours)
    keys = [*where.keys, (where.owner, "TXT")]
    before = ours.read(keys)
    theirs.ensure(where, wanted)
    with pytest.raises(PhaseError, match=r"answers YXRRSET to the update; another run changed the same names"):
        ours.write(before, ours.marked(wanted, where, ours.mark))
    seen = ours.read(keys)
    assert theirs.remove(published(theirs, "theirs"))
    with pytest.raises(PhaseError, match=r"answers NXRRSET to the update; another run changed the same names"):
        ours.delete(seen)
    send(servers, lambda update: update.add(f"{NAME}.", 300, "A", "192.0.2.66"))
    with pytest.raises(PhaseError, match=r"answers YXRRSET to the update; another run changed the same names"):
        ours.write(before, ours.marked(wanted, where, ours.mark))
    send(servers, lambda update: update.delete(f"{NAME}.", "A"))
    assert_absent(servers)


def test_leaves_somebody_elses_alias_and_says_so(servers: Servers) -> None:
    driver = servers.driver("ours")
    where, wanted = names(driver, ALIAS)
    with pytest.raises(PhaseError, match=f"CNAME elsewhere.example of {ALIAS}.{ZONE} carries no mark") as caught:
        driver.ensure(where, wanted)
    assert caught.value.code == "dns-failed"
    assert not driver.remove(published(driver, "ours", ALIAS))
    assert kdig(servers.authority, f"{ALIAS}.{ZONE}", "CNAME") == ["elsewhere.example."]


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize(("kind", "value"), [("A", "192.0.2.80"), ("CNAME", "elsewhere.example."), ("TXT", "theirs")])
def test_wildcard_is_nobodys_record_at_our_name(servers: Servers, kind: str, value: str, exclusive: bool) -> None:
    send(servers, lambda update: update.add(f"*.{ZONE}.", 60, kind, value))
    try:
        ours = servers.driver("ours", exclusive=exclusive)
        serial = servers.records(ZONE, "SOA")
        assert not ours.remove(published(ours, "ours"))
        assert servers.records(ZONE, "SOA") == serial, "a question changes nothing"
        assert ours.ensure(*names(ours))
        assert_published(servers, "ours")
        assert not ours.ensure(*names(ours))
        assert ours.remove(published(ours, "ours"))
    finally:
        send(servers, lambda update: update.delete(f"*.{ZONE}."))
    assert_absent(servers)


def test_resolver_is_no_witness_that_a_record_is_gone(servers: Servers) -> None:
    ours, asking = servers.driver("ours"), servers.driver("ours", server=servers.resolver)
    ours.ensure(*names(ours))
    with pytest.raises(PhaseError, match=rf"answers without authority for .*does it serve zone {ZONE}"):
        asking.remove(published(ours, "ours"))
    assert ours.remove(published(ours, "ours"))
    assert_absent(servers)


def names(driver: DnsDriver, hostname: str = HOST) -> tuple[Names, list[Record]]:
    """The names and records of a Minecraft server."""
    where = driver.provider.names(hostname, "minecraft", "tcp")
    return where, driver.provider.records(where, 25565)


def published(driver: DnsDriver, server_id: str, hostname: str = HOST) -> list[Publication]:
    """The same as they are recorded."""
    return publications_of(driver.provider, *names(driver, hostname), server_id)


def test_takes_no_update_without_the_key(servers: Servers) -> None:
    unsigned = dns.update.UpdateMessage(ZONE)
    unsigned.add(f"{NAME}.", 60, "A", "192.0.2.66")
    address, _, port = servers.authority.partition(":")
    answer = dns.query.tcp(unsigned, address, port=int(port), timeout=5)
    assert answer.rcode() == {"knot": dns.rcode.NOTAUTH, "bind": dns.rcode.REFUSED}[servers.kind]
    assert_absent(servers)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"key_name": "nobody"}, "real: rejects the TSIG signature: PeerBadKey; check key_name, secret rfc2136_key"),
        ({"key_algorithm": "hmac-sha512"}, "real: rejects the TSIG signature: PeerBadKey; check key_name"),
        ({"zone": "other.example"}, "does it serve zone other.example?"),
        ({"server": "127.0.0.1:1"}, "real: name server 127.0.0.1:1 does not answer"),
    ],
    ids=["wrong key", "wrong algorithm", "zone not served", "server away"],
)
def test_fails_with_the_reason(servers: Servers, game: dict[str, Any], more: dict[str, str], words: str) -> None:
    failure = publish(servers.lab, game, hostwright_dns=servers.dns(**more), publish_edge_timeout=2).failure
    assert failure["code"] == "dns-failed"
    assert words in failure["msg"]
    assert_absent(servers)


def test_fails_with_the_reason_when_the_secret_is_wrong(servers: Servers, game: dict[str, Any], tmp_path: Path) -> None:
    wrong = "d3JvbmcgcGxhbnRlZCBzZWNyZXQ="
    secrets = other_secrets(servers.lab, tmp_path, rfc2136_key=wrong)
    run = publish(servers.lab, game, hostwright_dns=servers.dns(), hostwright_secrets_file=secrets)
    assert run.failure["code"] == "dns-failed"
    assert "real: rejects the TSIG signature: PeerBadSignature; check key_name" in run.failure["msg"]
    assert wrong not in run.output
    assert_absent(servers)


def send(servers: Servers, change: Callable[[dns.update.UpdateMessage], None]) -> None:
    """An update of somebody else who has the key too."""
    keyring = dns.tsigkeyring.from_text({KEY: servers.lab.secrets["rfc2136_key"]})
    update = dns.update.UpdateMessage(ZONE, keyring=keyring, keyalgorithm="hmac-sha256")
    change(update)
    address, _, port = servers.authority.partition(":")
    assert dns.query.tcp(update, address, port=int(port), timeout=5).rcode() == dns.rcode.NOERROR
