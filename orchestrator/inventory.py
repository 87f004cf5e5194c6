"""The little that the worker wants to know of the inventory; Ansible reads it, so every inventory plugin counts."""

import json
import os
import subprocess
import sys
from pathlib import Path

from orchestrator.errors import ConfigurationError
from orchestrator.settings import PROJECT_DIR

_SECONDS = 60
"""How long ansible-inventory may take; it is half a second on an idle machine."""


def proxmox_node(inventory: Path) -> str:
    """The Proxmox node that the inventory's `hostwright_proxmox` names. Raises ConfigurationError."""
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(inventory), "--host", "localhost"]
    environment = os.environ | {"ANSIBLE_CONFIG": str(PROJECT_DIR / "ansible.cfg")}
    try:
        done = subprocess.run(
            command, env=environment, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
        return str(json.loads(done.stdout)["hostwright_proxmox"]["node"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"HOSTWRIGHT_NODE_CONCURRENCY needs hostwright_proxmox.node in the inventory {inventory}: {error}"
        ) from error
