"""Wait one window until a player gets through; `until: result.done` makes the end of a phase of it.

To be delegated to the host of the proxy, if it names one.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from hostwright_ansible.patient import QUIET, PatientAction
from hostwright_ansible.server import SERVER, registration

from orchestrator.domain.errors import Code
from orchestrator.drivers.dns.factory import parse_providers
from orchestrator.drivers.players.reachability import Check, Instance, Outcome, checks, parse_probe, run
from orchestrator.drivers.proxy.factory import open_proxy, parse_proxy
from orchestrator.drivers.result import LaterError, waiting
from orchestrator.drivers.secrets import Secrets

CODE = Code.VERIFY_FAILED
INTERVAL = 1.0
PROXY_TIMEOUT = 2.0


class ActionModule(PatientAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "providers": {"type": "list", "elements": "dict", "required": True},
        "proxy": {"type": "dict", "required": True},
        "server": SERVER,
        "probe": {"type": "raw", "default": "minecraft"},
        "window": {"type": "float", "default": 3.0},
        "limit": {"type": "float", "default": 120.0},
    }

    def attempt(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        proxy = open_proxy(parse_proxy(args["proxy"]), secrets, run=self.run_module, timeout=PROXY_TIMEOUT, quiet=QUIET)
        todo = list(checks(_instance(args), proxy))
        deadline = time.monotonic() + (0 if check else args["window"])
        try:
            outcome = _watch(todo, deadline)
        except LaterError as later:
            raise LaterError(CODE, later.message, at=later.at, asked=later.asked, check="proxy") from None
        if outcome.failed is None:
            progress = f"{args['server']['hostname']} answers its players: {outcome.passed.get('ping container')}"
            return {"changed": False, "done": True, "progress": progress, "checks": outcome.passed}
        if check:
            return {
                "changed": False,
                "done": True,
                "progress": f"would wait; now {outcome.failed}: {outcome.seen}",
            }
        return waiting(
            CODE,
            f"{outcome.failed}: {outcome.seen}",
            progress=f"verify waits for {outcome.failed}",
            check=outcome.failed,
            seen=outcome.seen,
            passed=outcome.passed,
        )


def _watch(todo: list[Check], deadline: float) -> Outcome:
    while True:
        started = time.monotonic()
        outcome = run(todo, deadline)
        rest = INTERVAL - (time.monotonic() - started)
        if outcome.failed is None or time.monotonic() + max(rest, 0) >= deadline:
            return outcome
        time.sleep(max(rest, 0))


def _instance(args: dict[str, Any]) -> Instance:
    server, records = args["server"], []
    for provider in parse_providers(args["providers"]):
        names = provider.names(server["hostname"], server["service"], server["protocol"])
        records.append((provider, names, provider.records(names, server["public_port"])))
    return Instance(registration(server), parse_probe(server["protocol"], args["probe"]), records)
