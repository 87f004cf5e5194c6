"""Publishing one game in the lab: the playbooks, what the lab then holds, and how to disturb it before."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.support.fix_lab import Lab, tls_context
from tests.support.playbook import Run, play, unsafe

VMID = 5950
HOST = f"mc-vanilla-{VMID}"
PLAN, PUBLISH, VERIFY = "Plan what will be published", "Publish it", "Verify that a player gets through"
FILES, GONE = "Remove the files", "Remove the registration and the records"
ZONES = {"internal": "lab.internal", "public": "lab.example"}


def publish(lab: Lab, order: dict[str, Any], *arguments: str, **more: Any) -> Run:
    return play("phases/publish_edge", lab.state_dir, order | more, arguments=arguments)


def unpublish(lab: Lab, order: dict[str, Any], *arguments: str, **more: Any) -> Run:
    return play("phases/unpublish_edge", lab.state_dir, order | more, arguments=arguments)


def withdraw(lab: Lab, order: dict[str, Any], published: Run, *arguments: str, **more: Any) -> Run:
    """What the orchestrator does: remove what a run planned to publish, by its record."""
    return unpublish(lab, order, *arguments, publications=recorded(published), **more)


def recorded(published: Run) -> list[dict[str, Any]]:
    """What a run planned to publish, as the orchestrator hands it back."""
    return [{name: unsafe(text) for name, text in one.items()} for one in published.result(PLAN)["publishing"]]


def records(lab: Lab, view: str) -> list[tuple[str, str, str, int]]:
    """Name, type, value and TTL of everything under our host's name."""
    return sorted(
        (record["name"], record["type"], record["value"], record["ttl"])
        for record in lab.inventory()["records"]
        if record["view"] == view and HOST in record["name"]
    )


def expected(lab: Lab, view: str) -> list[tuple[str, str, str, int]]:
    provider = next(entry for entry in lab.site["dns"] if entry["zone"] == ZONES[view])
    host = f"{HOST}.{ZONES[view]}"
    return sorted([(host, "A", provider["address"], 60), (f"_minecraft._tcp.{host}", "SRV", f"0 5 25565 {host}", 60)])


def assert_published(lab: Lab, order: dict[str, Any]) -> None:
    for view in ZONES:
        assert records(lab, view) == expected(lab, view)
    ours = [one for one in lab.inventory()["registrations"] if one["name"].startswith(HOST)]
    assert ours == [{"name": HOST, "address": order["address"], "port": 25565}]


def assert_unpublished(lab: Lab) -> None:
    assert [records(lab, view) for view in ZONES] == [[], []]
    assert not [one for one in lab.inventory()["registrations"] if one["name"].startswith(HOST)]


def is_published(lab: Lab, host: str = HOST) -> bool:
    """Whether anything at all leads to a host."""
    inventory = lab.inventory()
    published = ("records", "registrations", "routes", "entryPoints")
    return any(host in one["name"] for kind in published for one in inventory[kind])


def seed_cloudflare(lab: Lab, **record: Any) -> None:
    provider = lab.site["dns"][1]
    answer = httpx.post(
        f"{provider['url']}/zones/{provider['zone_id']}/dns_records",
        json={"ttl": 300} | record,
        headers={"Authorization": f"Bearer {lab.secrets['cloudflare_token']}"},
        verify=tls_context(lab),
        trust_env=False,
    )
    assert answer.is_success, answer.text


def other_secrets(lab: Lab, directory: Path, **values: str) -> str:
    path = directory / "secrets.json"
    path.touch(0o600)
    path.write_text(json.dumps(lab.secrets | values))
    return str(path)


def remove_public(lab: Lab, name: str) -> None:
    provider = lab.site["dns"][1]
    base = f"{provider['url']}/zones/{provider['zone_id']}"
    headers = {"Authorization": f"Bearer {lab.secrets['cloudflare_token']}"}
    with httpx.Client(verify=tls_context(lab), trust_env=False, headers=headers) as client:
        for record in client.get(f"{base}/dns_records", params={"name.exact": name}).json()["result"]:
            client.delete(f"{base}/dns_records/{record['id']}").raise_for_status()


def rfc2136(lab: Lab, **more: str) -> list[dict[str, Any]]:
    provider = lab.site["dns"][0]
    kept = {name: provider[name] for name in ("zone", "address", "nameserver")}
    return [{"name": "primary", "driver": "rfc2136", "secret": "rfc2136_key", "key_name": "hostwright", **kept, **more}]
