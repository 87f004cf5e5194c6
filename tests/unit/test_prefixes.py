"""The prefix below which a client sees the API, whom to believe about it, and whether it was taken off a path."""

from ipaddress import ip_network

import pytest

from orchestrator.api.http.prefixes import find_prefix, place_below
from orchestrator.settings import load_settings

TRUSTED = (ip_network("10.0.0.0/8"),)
ROOMS = {"api", "healthz"}


@pytest.mark.parametrize(
    ("peer", "lines", "found"),
    [
        ("10.0.0.1", [], "/configured"),
        ("10.0.0.1", ["/hostwright"], "/hostwright"),
        ("::ffff:10.0.0.1", ["/hostwright"], "/hostwright"),
        ("10.0.0.1", ["/hostwright/"], "/hostwright"),
        ("10.0.0.1", ["/a/b-c.d_e~f"], "/a/b-c.d_e~f"),
        ("10.0.0.1", ["/of-the-client, /hostwright"], "/hostwright"),
        ("10.0.0.1", ["/of-the-client", "/hostwright"], "/hostwright"),
        ("10.0.0.1", ["/"], ""),
        ("10.0.0.1", [""], "/configured"),
        ("10.0.0.1", ["//evil.example"], "/configured"),
        ("10.0.0.1", ["/a//evil.example"], "/configured"),
        ("10.0.0.1", ["https://evil.example"], "/configured"),
        ("10.0.0.1", ["evil"], "/configured"),
        ("10.0.0.1", ["/a b"], "/configured"),
        ("10.0.0.1", ['/a>; rel="x"'], "/configured"),
        ("192.0.2.1", ["/evil"], "/configured"),
        (None, ["/evil"], "/configured"),
    ],
)
def test_case_d8_believes_only_trusted_proxies_and_only_a_path(peer: str | None, lines: list[str], found: str) -> None:
    assert find_prefix(peer, lines, TRUSTED, "/configured") == found


@pytest.mark.parametrize(
    ("prefix", "path", "placed"),
    [
        ("", "/api/instances", "/api/instances"),
        ("/hostwright", "/api/instances", "/hostwright/api/instances"),
        ("/hostwright", "/hostwright/api/instances", "/hostwright/api/instances"),
        ("/hostwright", "/hostwright/healthz", "/hostwright/healthz"),
        ("/hostwright", "/hostwright/x", "/hostwright/hostwright/x"),
        ("/hostwright", "/hostwrightapi/x", "/hostwright/hostwrightapi/x"),
        ("/api", "/api/instances", "/api/api/instances"),
        ("/api", "/api/api/instances", "/api/api/instances"),
    ],
)
def test_case_d8_sees_whether_the_prefix_was_taken_off(prefix: str, path: str, placed: str) -> None:
    assert place_below(prefix, path, ROOMS) == placed


def test_case_d8_takes_the_prefix_of_the_public_url() -> None:
    assert load_settings(public_url="https://example.net/a/b").public_path == "/a/b"
    assert load_settings(public_url="https://example.net").public_path == ""
    assert load_settings().public_path == ""
