"""Clients for tests of the lab's DNS: questions to its name servers, calls to Technitium's API."""

from typing import Any

import dns.message
import dns.query
import httpx

from tests.support.fix_lab import Lab, tls_context


def endpoint(lab: Lab, view: str) -> tuple[str, int]:
    host, _, port = lab.urls[f"{view}Dns"].partition(":")
    return host, int(port)


def ask(lab: Lab, name: str, kind: str, *, view: str = "internal", tcp: bool = False) -> dns.message.Message:
    host, port = endpoint(lab, view)
    query = dns.message.make_query(name, kind)
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, host, port=port, timeout=5)


def values(response: dns.message.Message) -> list[str]:
    return sorted(rdata.to_text() for rrset in response.answer for rdata in rrset)


def technitium(lab: Lab, verb: str, *, token: str | None = None, **params: str) -> dict[str, Any]:
    """POST as a form with a bearer token; the answer is HTTP 200 whatever happens."""
    return technitium_zone(lab, f"records/{verb}", token=token, **params)


def technitium_zone(lab: Lab, verb: str, *, token: str | None = None, **params: str) -> dict[str, Any]:
    """The same for what is about a zone, such as `disable`."""
    headers = {"Authorization": f"Bearer {token or lab.secrets['technitium_token']}"}
    url = f"{lab.urls['technitiumUrl']}/api/zones/{verb}"
    with httpx.Client(verify=tls_context(lab), trust_env=False) as client:
        response = client.post(url, data=params, headers=headers)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer
