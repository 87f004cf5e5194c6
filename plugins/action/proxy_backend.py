"""The instance's backend at the proxy, present or absent, under its short name in both cases.

Arguments: proxy (`hostwright_proxy`), name, hostnames (public names, for proxies that route by them),
address, port, state, timeout (seconds).
"""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction
from hostwright_ansible.proxy_driver import Proxy
from hostwright_ansible.proxy_drivers import open_proxy
from hostwright_ansible.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "proxy": {"type": "dict", "required": True},
        "name": {"type": "str", "required": True},
        "hostnames": {"type": "list", "elements": "str", "default": []},
        "address": {"type": "str"},
        "port": {"type": "int"},
        "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        "timeout": {"type": "float", "default": 20.0},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        driver = open_proxy(Proxy.parse(args["proxy"]), secrets, timeout=args["timeout"])
        name, would = args["name"].lower(), "would be " if check else ""
        if args["state"] == "absent":
            changed = driver.remove(name, check=check)
            return {
                "changed": changed,
                "progress": f"{name} {would}unregistered" if changed else f"{name} is not registered",
            }
        changed = driver.ensure(name, args["hostnames"], args["address"], args["port"], check=check)
        verb = f"{would}registered" if changed else "stays registered"
        return {"changed": changed, "progress": f"{name} {verb}: {args['address']}:{args['port']}"}
