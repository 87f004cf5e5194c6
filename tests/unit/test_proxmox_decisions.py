"""What the Proxmox parts decide from what they read, without a Proxmox."""

import hashlib
import re
from typing import Any

import pytest
from proxmoxer.core import ResourceException

from orchestrator.domain.errors import Code
from orchestrator.drivers.proxmox.address import choose, describe
from orchestrator.drivers.proxmox.answers import CODES, RULES, Kind, Next, Verb, classify
from orchestrator.drivers.proxmox.client import ProxmoxError, attempt
from orchestrator.drivers.proxmox.configure import Wanted, differences, disk_gib
from orchestrator.drivers.proxmox.ownership import description, is_ours, with_our_tags
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets
from orchestrator.settings import PROJECT_DIR

OURS = "0b0f2f0e-1111-4222-8333-944455556666"
WANTED = Wanted(OURS, "mc-vanilla-5000", cores=2, memory_mib=2048, bridge="vmbr0", interface="eth0")


# Statuses and texts as Proxmox VE 9.2 gives them.
ANSWERS = [
    (401, "Authentication failed!", Kind.UNAUTHENTICATED),
    (403, "Permission check failed (/vms/100, VM.PowerMgmt)", Kind.DENIED),
    (500, "CT 101 already exists on node 'pve1'", Kind.TAKEN),
    (500, "VM 101 already exists on node 'pve1'", Kind.TAKEN),
    (500, "Configuration file 'nodes/pve1/lxc/999.conf' does not exist", Kind.MISSING),
    (500, "CT is locked (disk)", Kind.LOCKED),
    (500, "CT is locked (snapshot-delete)", Kind.LOCKED),
    (500, "can't lock file '/run/lock/lxc/pve-config-100.lock' - got timeout", Kind.LOCKED),
    (500, "ipcc_send_rec[1] failed: Transport endpoint is not connected", Kind.UNREACHABLE),
    (500, "ipcc_send_rec failed: Unknown error -1", Kind.UNREACHABLE),
    (500, "Transport endpoint is not connected", Kind.UNREACHABLE),
    (500, "failed to read from command socket: Connection reset by peer", Kind.UNREACHABLE),
    (500, "short read on command socket", Kind.UNREACHABLE),
    (500, "failed to send to command socket", Kind.UNREACHABLE),
    (500, "cluster not ready - no quorum?", Kind.UNREACHABLE),
    (595, "Connection refused", Kind.UNREACHABLE),
    (596, "Connection timed out", Kind.UNREACHABLE),
    (500, "CT 101 already running", Kind.OUTDATED),
    (500, "CT 100 not running", Kind.OUTDATED),
    (500, "detected modified configuration - file changed by other user? Try again.", Kind.OUTDATED),
    (500, "disk is already at specified size", Kind.OUTDATED),
    (500, "clone failed: unable to create image: No space left on device", Kind.FULL),
    (500, "zfs error: cannot create 'rpool/data/subvol-5000-disk-0': out of space", Kind.FULL),
    (500, "Full clone of a running container is only possible from a snapshot", Kind.REFUSED),
    (500, "storage 'x' does not exist", Kind.REFUSED),
    (500, "bridge 'vmbr9' does not exist", Kind.REFUSED),
    (500, "unable to destroy CT 101 - container is running", Kind.REFUSED),
    (500, "can't remove CT 121 - protection mode enabled", Kind.REFUSED),
    (500, "unable to shrink disk size", Kind.REFUSED),
    (500, "hostname lookup 'x' failed - failed to get address info for: x", Kind.UNKNOWN),
    (500, "container did not stop", Kind.UNKNOWN),
    (500, "clone failed: cfs-lock 'storage-nas1' error: got lock request timeout", Kind.UNKNOWN),
    (500, "EOF", Kind.UNKNOWN),
    (520, "", Kind.UNKNOWN),
    (408, "Request Timeout", Kind.UNREACHABLE),
    (429, "Too Many Requests", Kind.UNREACHABLE),
    (503, "Service Unavailable", Kind.UNREACHABLE),
    (599, "Too many redirections", Kind.UNREACHABLE),
    (400, "Parameter verification failed.", Kind.REFUSED),
    (501, "Unexpected content for method 'DELETE'", Kind.REFUSED),
]


@pytest.mark.parametrize(("status", "text", "kind"), ANSWERS)
def test_classify_knows_what_proxmox_says(status: int, text: str, kind: Kind) -> None:
    assert classify(status, text) is kind


@pytest.mark.parametrize(("status", "text", "kind"), [answer for answer in ANSWERS if answer[0] >= 500])
def test_read_that_failed_at_the_server_is_asked_again_whatever_it_says(status: int, text: str, kind: Kind) -> None:
    read = classify(status, text, Verb.READ)
    assert RULES[read].read is (Next.ANSWER if kind is Kind.MISSING else Next.AGAIN)


def test_documents_say_what_follows_on_every_kind() -> None:
    text = (PROJECT_DIR / "docs" / "errors.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert table == [(kind, *(RULES[kind][verb] for verb in Verb)) for kind in Kind]


def test_every_kind_has_a_code_that_operations_know() -> None:
    assert set(CODES) == set(Kind)
    assert set(CODES.values()) <= set(Code)


def test_attempt_names_every_bad_parameter() -> None:
    def call() -> None:
        text, errors = "Parameter verification failed.", {"newid": "invalid format", "full": "not a boolean"}
        raise ResourceException(400, "Bad Request", text, errors=errors)

    with pytest.raises(ProxmoxError, match=r"failed\. newid: invalid format; full: not a boolean"):
        attempt(call)


def test_attempt_shows_no_bytes_of_an_empty_answer() -> None:
    def call() -> None:
        raise ResourceException(595, "Connection refused", "", errors={"errors": b""})

    with pytest.raises(ProxmoxError) as caught:
        attempt(call)
    assert (caught.value.kind, str(caught.value)) == (Kind.UNREACHABLE, "Connection refused")


def test_attempt_takes_a_gateways_page_for_no_answer() -> None:
    with pytest.raises(ProxmoxError) as caught:
        attempt(lambda: {"errors": b"<html>"})
    assert caught.value.kind is Kind.UNREACHABLE


def test_denied_privilege_is_read_from_the_text() -> None:
    error = ProxmoxError(Kind.DENIED, "Permission check failed (/vms/100, VM.PowerMgmt)", 403)
    assert error.privilege == "/vms/100, VM.PowerMgmt"
    assert ProxmoxError(Kind.DENIED, "Authentication failed!", 401).privilege is None


# -- ownership -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "ours"),
    [
        ({"description": description(OURS, "o") + "\n"}, True),
        ({"tags": f"hostwright;hw-{OURS}"}, True),
        ({"description": "an operator wrote this", "tags": f"HW-{OURS.upper()}"}, True),
        ({"description": description(OURS + "0", "o")}, False),
        ({"description": description("other", OURS)}, False),
        ({"description": OURS, "tags": "hostwright"}, False),
        ({"tags": f"hw-{OURS}-2"}, False),
        ({}, False),
    ],
)
def test_ownership_is_by_description_or_tag(config: dict[str, Any], ours: bool) -> None:
    assert is_ours(config, OURS) is ours


def test_our_tags_are_added_to_an_operators_own() -> None:
    assert with_our_tags("Prod, backup", "A1") == "Prod;backup;hostwright;hw-a1"
    assert with_our_tags(None, "a1") == "hostwright;hw-a1"


# -- configuration -------------------------------------------------------------------------------------------

CONFIGURED = {
    "hostname": "mc-vanilla-5000",
    "cores": 2,
    "memory": 2048,
    "tags": f"hostwright;hw-{OURS}",
    "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:01:02:03,ip=dhcp,type=veth",
    "rootfs": "local-lvm:vm-5000-disk-0,size=8G",
}


def test_differences_of_a_configured_container_are_none() -> None:
    assert differences(CONFIGURED, WANTED) == {}


@pytest.mark.parametrize(
    "net0",
    [
        "bridge=vmbr0,hwaddr=BC:24:11:01:02:03,ip=dhcp,name=eth0",
        "name=eth0,type=veth,ip=dhcp,hwaddr=BC:24:11:01:02:03,bridge=vmbr0",
    ],
)
def test_differences_ignore_how_proxmox_orders_a_network(net0: str) -> None:
    assert differences({**CONFIGURED, "net0": net0}, WANTED) == {}


def test_differences_keep_the_hardware_address_and_what_is_not_ours() -> None:
    net0 = "name=eth0,bridge=vmbr7,firewall=1,gw=192.0.2.1,hwaddr=BC:24:11:01:02:03,ip=192.0.2.9/24,type=veth"
    assert differences({**CONFIGURED, "net0": net0}, WANTED) == {
        "net0": "name=eth0,bridge=vmbr0,firewall=1,hwaddr=BC:24:11:01:02:03,ip=dhcp"
    }


def test_differences_name_only_what_differs() -> None:
    assert differences({**CONFIGURED, "memory": 512, "tags": "x"}, WANTED) == {
        "memory": 2048,
        "tags": f"hostwright;hw-{OURS};x",
    }


@pytest.mark.parametrize(
    ("rootfs", "gib"),
    [
        ("local-lvm:vm-1-disk-0,size=8G", 8.0),
        ("zfs:subvol-1-disk-0,mountoptions=noatime,size=1T", 1024.0),
        ("dir:1/vm-1-disk-0.raw,size=2560M", 2.5),
        ("", 0.0),
    ],
)
def test_disk_size_is_read_from_the_volume(rootfs: str, gib: float) -> None:
    assert disk_gib({"rootfs": rootfs}) == gib


# -- address -------------------------------------------------------------------------------------------------


def interface(name: str, *addresses: str) -> dict[str, Any]:
    return {"name": name, "ip-addresses": [{"ip-address": address, "prefix": "24"} for address in addresses]}


@pytest.mark.parametrize(
    ("interfaces", "address"),
    [
        ([], None),
        ([interface("lo", "127.0.0.1", "::1")], None),
        ([interface("eth0")], None),
        ([interface("eth0", "fe80::1", "169.254.3.4")], None),
        ([interface("lo", "127.0.0.1"), interface("eth0", "fe80::1", "192.0.2.7", "192.0.2.8")], "192.0.2.7"),
        ([interface("eth0", "2001:db8::7", "192.0.2.7")], "192.0.2.7"),
        ([interface("eth0", "fe80::1", "2001:db8::7")], None),
        ([interface("eth1", "192.0.2.7")], None),
        ([interface("eth0", "127.4.16.1")], "127.4.16.1"),  # a container of the lab
        ([{"name": "eth0", "inet": "192.0.2.7/24", "inet6": "fe80::1/64"}], "192.0.2.7"),
        ([interface("eth0", "0.0.0.0", "224.0.0.1")], None),
    ],
)
def test_choose_takes_the_first_global_ipv4_address_of_the_interface(
    interfaces: list[dict[str, Any]], address: str | None
) -> None:
    assert choose(interfaces, "eth0") == address


def test_loopback_is_never_chosen_even_when_configured() -> None:
    assert choose([interface("lo", "192.0.2.7")], "lo") is None


def test_describe_names_interfaces_without_address() -> None:
    seen = [interface("lo", "127.0.0.1"), interface("eth0")]
    assert describe(seen) == "lo 127.0.0.1, eth0 without address"
    assert describe([]) == "no interface"


def test_describe_says_that_a_global_ipv6_address_does_not_count() -> None:
    seen = [interface("lo", "::1"), interface("eth0", "fe80::1", "2001:db8::7")]
    assert describe(seen) == "lo ::1, eth0 fe80::1, eth0 2001:db8::7 (seen, but not IPv4)"


# -- secrets -------------------------------------------------------------------------------------------------


def test_scrub_finds_a_secret_in_every_form_it_travels_in(tmp_path: Any) -> None:
    file = tmp_path / "secrets.json"
    file.touch(0o600)
    file.write_text('{"token": "a b+c/planted", "empty": ""}')
    secrets = Secrets(file)
    sha256 = hashlib.sha256(b"a b+c/planted").hexdigest()
    texts = ["x a b+c/planted y", "?token=a%20b%2Bc%2Fplanted", "?token=a+b%2Bc%2Fplanted", sha256]
    scrubbed = secrets.scrub({"a b+c/planted": [texts, 1, None]})
    assert scrubbed == {"***": [["x *** y", "?token=***", "?token=***", "***"], 1, None]}


def test_missing_secret_is_named_with_its_file(tmp_path: Any) -> None:
    file = tmp_path / "secrets.json"
    with pytest.raises(PhaseError, match=r"secrets file .*secrets\.json cannot be read"):
        Secrets(file).get("token")
    file.touch(0o600)
    file.write_text("{}")
    with pytest.raises(PhaseError, match="secret token is missing in") as caught:
        Secrets(file).get("token")
    assert caught.value.code == "internal"


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644])
def test_secrets_that_others_may_read_are_refused(tmp_path: Any, mode: int) -> None:
    file = tmp_path / "secrets.json"
    file.write_text('{"token": "planted"}')
    file.chmod(mode)
    with pytest.raises(PhaseError, match=r"the secrets file .*secrets\.json may be read by others: chmod 600 it"):
        Secrets(file).get("token")
