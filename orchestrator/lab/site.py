"""What a running lab writes about itself, without secrets: its services, and the site that the inventory describes."""

import hashlib
from pathlib import Path
from typing import Any

from orchestrator.lab.addresses import (
    CLOUDFLARE_PORT,
    CONTROL_PORT,
    DNS_PORT,
    EDGE_PORT,
    MC_ROUTER_PORT,
    PROXMOX_PORT,
    TECHNITIUM_PORT,
    VELOCITY_PORT,
    Addresses,
)
from orchestrator.lab.guests.agent import AGENT_PORT
from orchestrator.lab.proxmox.layout import NODE, PVE_USER, TEMPLATE, TOKEN_NAME

INTERNAL_ZONE = "lab.internal"
PUBLIC_ZONE = "lab.example"
ZONE_ID = hashlib.sha256(PUBLIC_ZONE.encode()).hexdigest()[:32]


def describe_services(addresses: Addresses) -> dict[str, str]:
    """The content of lab.json: where each service listens."""
    return {
        "proxmoxUrl": f"https://{addresses.proxmox}:{PROXMOX_PORT}",
        "internalDns": f"{addresses.internal_dns}:{DNS_PORT}",
        "publicDns": f"{addresses.public_dns}:{DNS_PORT}",
        "technitiumUrl": f"https://{addresses.technitium}:{TECHNITIUM_PORT}",
        "cloudflareUrl": f"https://{addresses.cloudflare}:{CLOUDFLARE_PORT}/client/v4",
        "velocityUrl": f"http://{addresses.velocity}:{VELOCITY_PORT}",
        "edgeAddress": f"{addresses.public_edge}:{EDGE_PORT}",
        "mcRouterUrl": f"http://{addresses.mc_router}:{MC_ROUTER_PORT}",
        "mcRouterAddress": f"{addresses.mc_router}:{EDGE_PORT}",
        "controlUrl": f"http://{addresses.control}:{CONTROL_PORT}",
    }


def describe_site(addresses: Addresses, ca: Path, traefik_directory: Path) -> dict[str, Any]:
    """The content of site.json, which the lab's inventory maps to variables. Secrets stand in it by name only."""
    urls = describe_services(addresses)
    return {
        "proxmox": {
            "host": addresses.proxmox,
            "port": PROXMOX_PORT,
            "user": PVE_USER,
            "token_name": TOKEN_NAME,
            "node": NODE,
            "ca_file": str(ca),
        },
        "templates": {"game": TEMPLATE, "dev": TEMPLATE},
        "network": {
            "game": {"bridge": "vmbr0", "interface": "eth0"},
            "dev": {"bridge": "vmbr1", "interface": "eth0"},
        },
        "agent": {"port": AGENT_PORT, "secret": "agent_token", "master_secret": "agent_master_secret"},
        "dns": _describe_providers(addresses, urls, ca),
        "proxy": {"driver": "zpack-bridge", "url": urls["velocityUrl"], "secret": "velocity_secret"},
        # inventory/lab/hosts.yml has this host.
        "entry_points": {"driver": "traefik", "host": "edge-1", "directory": str(traefik_directory)},
    }


def _describe_providers(addresses: Addresses, urls: dict[str, str], ca: Path) -> list[dict[str, str]]:
    """The DNS providers: the internal one, and then the public one."""
    internal = {"zone": INTERNAL_ZONE, "address": addresses.internal_edge, "nameserver": urls["internalDns"]}
    public = {
        "zone": PUBLIC_ZONE,
        "zone_id": ZONE_ID,
        "address": addresses.public_edge,
        "nameserver": urls["publicDns"],
    }
    return [
        {
            "name": driver,
            "driver": driver,
            "url": urls[f"{driver}Url"],
            "secret": f"{driver}_token",
            "ca_file": str(ca),
            **zone,
        }
        for driver, zone in (("technitium", internal), ("cloudflare", public))
    ]
