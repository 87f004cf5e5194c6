"""The instance's backend at the proxy, present or absent, under its short name in both cases.

Arguments: proxy (`hostwright_proxy` or `hostwright_entry_points`), name, server_id (for the mark, where the proxy
keeps one), hostnames (public names, for proxies that route by them), protocol and public_port (for those that route by
entry point), address, port, state, timeout (seconds). To be delegated to the host of the proxy, if it names one.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.drivers.proxy.base import Proxy, Registration
from orchestrator.drivers.proxy.factory import open_proxy
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "proxy": {"type": "dict", "required": True},
        "name": {"type": "str", "required": True},
        "server_id": {"type": "str", "required": True},
        "hostnames": {"type": "list", "elements": "str", "default": []},
        "protocol": {"type": "str", "default": "tcp", "choices": ["tcp", "udp"]},
        "public_port": {"type": "int", "default": 0},
        "address": {"type": "str"},
        "port": {"type": "int"},
        "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        "timeout": {"type": "float", "default": 20.0},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        proxy = Proxy.parse(args["proxy"])
        driver = open_proxy(proxy, secrets, run=self.run_module, timeout=args["timeout"])
        name, would = args["name"].lower(), "would be " if check else ""
        if args["state"] == "absent":
            changed = driver.remove(name, args["server_id"], check=check)
            return {
                "changed": changed,
                "progress": f"{name} {would}unregistered" if changed else f"{name} is not registered",
            }
        changed = driver.ensure(_registration(name, args), check=check)
        verb = f"{would}registered" if changed else "stays registered"
        return {"changed": changed, "progress": f"{name} {verb}: {args['address']}:{args['port']}"}


def _registration(name: str, args: dict[str, Any]) -> Registration:
    given = ("server_id", "address", "port", "hostnames", "protocol", "public_port")
    return Registration(name=name, **{one: args[one] for one in given})
