"""Remove what was published of a server, by its record and nothing beside it.

Every place is tried, then each failure is named. Use it with `until: result.done`. The result is `withdrawn`, the
publications that are gone now, also when the task fails.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.patient import QUIET, PatientAction

from orchestrator.domain.errors import Code
from orchestrator.drivers.edge.withdraw import Site, Withdrawal, parse_publications, place_name, withdraw
from orchestrator.drivers.proxy.traefik import is_on
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets


class ActionModule(PatientAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "publications": {"type": "list", "elements": "dict", "required": True},
        "providers": {"type": "list", "elements": "dict", "required": True},
        "proxy": {"type": "dict", "required": True},
        "hostname": {"type": "str", "required": True},
        "server_id": {"type": "str", "required": True},
        "files": {"type": "list", "elements": "dict", "default": []},
        "timeout": {"type": "float", "default": 20.0},
        "limit": {"type": "float", "default": 120.0},
    }

    def attempt(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        publications, files = parse_publications(args["publications"]), args["files"]
        site = Site(
            args["server_id"],
            secrets,
            self.run_module,
            args["timeout"],
            check,
            args["providers"],
            args["proxy"],
            quiet=QUIET,
        )
        done = withdraw(
            [one for one in publications if not any(is_on(one, each["item"]) for each in files)], site.remove
        )
        for each in files:
            _add(done, each)
        return done.as_result(check=check) | {"progress": _sentence(args["hostname"], done, check=check)}


def _add(done: Withdrawal, files: dict[str, Any]) -> None:
    """Add what edge_files did on one host."""
    done.changed |= files.get("changed", False)
    done.gone += parse_publications(files.get("gone", []))
    done.failures += [PhaseError(Code(one["code"]), one["message"]) for one in files.get("failures", [])]
    if files.get("failed"):
        message = f"the files on host {files['item']} were not removed: {files['msg']}"
        done.failures.append(PhaseError(Code(files.get("code", Code.INTERNAL)), message))


def _sentence(hostname: str, done: Withdrawal, *, check: bool) -> str:
    places = dict.fromkeys(place_name(one) for one in done.gone)
    return f"{hostname} {'would be ' if check else ''}withdrawn from {', '.join(places)}"
