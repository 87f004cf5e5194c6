"""Where a request comes from."""

from ipaddress import ip_network

import pytest

from orchestrator.api.http.addresses import client_address
from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import load_settings

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("::1"))


@pytest.mark.parametrize(
    ("peer", "header", "found"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7,10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "fe80::1%evil", "10.0.0.1"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        (None, "198.51.100.7", None),
        ("a socket", "198.51.100.7", None),
    ],
)
def test_believes_only_trusted_proxies(peer: str | None, header: str | None, found: str | None) -> None:
    assert client_address(peer, header, TRUSTED) == found


def test_believes_nobody_by_default() -> None:
    assert client_address("127.0.0.1", "198.51.100.7", load_settings().trusted_networks) == "127.0.0.1"


def test_reads_networks_from_the_setting() -> None:
    found = load_settings(trusted_proxies="127.0.0.1, 10.0.0.0/8").trusted_networks
    assert found == (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"))
    with pytest.raises(ConfigurationError, match="HOSTWRIGHT_TRUSTED_PROXIES"):
        load_settings(trusted_proxies="everybody")
