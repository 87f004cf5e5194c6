"""What a running lab writes about itself: where it listens, and how to use it (no secrets)."""

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

INTERNAL_ZONE = "lab.internal"
PUBLIC_ZONE = "lab.example"
ZONE_ID = hashlib.sha256(PUBLIC_ZONE.encode()).hexdigest()[:32]
TEMPLATE = 9000
AGENT_PORT = 18888


def lab(addresses: Addresses) -> dict[str, str]:
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


def site(addresses: Addresses, ca: Path, traefik_directory: Path) -> dict[str, Any]:
    """The site data that the inventory maps; secrets stand in it by name only."""
    urls = lab(addresses)
    return {
        "proxmox": {
            "host": addresses.proxmox,
            "port": PROXMOX_PORT,
            "user": "hostwright@pve",
            "token_name": "lab",
            "node": "pve1",
            "ca_file": str(ca),
        },
        "templates": {"game": TEMPLATE, "dev": TEMPLATE},
        "network": {
            "game": {"bridge": "vmbr0", "interface": "eth0"},
            "dev": {"bridge": "vmbr1", "interface": "eth0"},
        },
        "agent": {"port": AGENT_PORT, "secret": "agent_token"},
        "dns": [_technitium(addresses, urls, ca), _cloudflare(addresses, urls, ca)],
        "proxy": {"driver": "zpack-bridge", "url": urls["velocityUrl"], "secret": "velocity_secret"},
        # A host of inventory/lab/hosts.yml.
        "entry_points": {"driver": "traefik", "host": "edge-1", "directory": str(traefik_directory)},
    }


def _technitium(addresses: Addresses, urls: dict[str, str], ca: Path) -> dict[str, str]:
    return {
        "name": "technitium",
        "driver": "technitium",
        "url": urls["technitiumUrl"],
        "zone": INTERNAL_ZONE,
        "address": addresses.internal_edge,
        "nameserver": urls["internalDns"],
        "secret": "technitium_token",
        "ca_file": str(ca),
    }


def _cloudflare(addresses: Addresses, urls: dict[str, str], ca: Path) -> dict[str, str]:
    return {
        "name": "cloudflare",
        "driver": "cloudflare",
        "url": urls["cloudflareUrl"],
        "zone": PUBLIC_ZONE,
        "zone_id": ZONE_ID,
        "address": addresses.public_edge,
        "nameserver": urls["publicDns"],
        "secret": "cloudflare_token",
        "ca_file": str(ca),
    }
