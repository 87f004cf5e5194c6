"""Variables of the running lab: what `site.json` says, each member as `hostwright_<member>`.

Plain data from the start, so that no task evaluates a lookup again: each of those costs a task 7 ms of CPU.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.vars import load_extra_vars

DOCUMENTATION = """
name: hostwright_lab
short_description: Variables of the running lab
description:
  - Reads <state>/lab/site.json and gives its members as hostwright_proxmox, hostwright_dns and so on.
  - The state directory is the extra variable hostwright_state_dir, else $HOSTWRIGHT_STATE_DIR, else
    /var/lib/hostwright as root and hostwright in the user's state directory otherwise.
options:
  plugin:
    description: Names this plugin.
    required: true
    choices: [hostwright_lab]
"""


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]  # ansible has no types
    NAME = "hostwright_lab"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path)
        refuse_another(os.environ.get("HOSTWRIGHT_INVENTORY"), Path(path).parent)
        state = Path(load_extra_vars(loader).get("hostwright_state_dir") or state_directory(os.environ))
        inventory.set_variable("all", "hostwright_state_dir", str(state))
        inventory.set_variable("all", "hostwright_secrets_file", str(state / "lab" / "secrets.json"))
        for name, value in self._site(state / "lab" / "site.json").items():
            inventory.set_variable("all", f"hostwright_{name}", value)

    def _site(self, file: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            # Without a lab one may still check the syntax of a playbook.
            self.display.warning(f"the lab is not running: there is no {file}; hostwright up --lab starts it")
            return {}


def refuse_another(chosen: str | None, used: Path) -> None:
    """Refuse the lab's inventory, which is Ansible's default here, where HOSTWRIGHT_INVENTORY names a site's."""
    if chosen and Path(chosen).resolve() != used.resolve():
        raise AnsibleParserError(
            f'this is the inventory {used}, and HOSTWRIGHT_INVENTORY names {chosen}: add -i "$HOSTWRIGHT_INVENTORY"'
        )


def state_directory(environment: os._Environ[str]) -> Path:
    """Where the lab keeps its state unless told otherwise."""
    if chosen := environment.get("HOSTWRIGHT_STATE_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/hostwright")
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hostwright"
