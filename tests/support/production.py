"""The production inventory as an operator makes it: the example copied, with a site of its own."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from orchestrator.settings import PROJECT_DIR

EXAMPLE = PROJECT_DIR / "inventory" / "production.example"
SITE = Path("group_vars/all/site.yml")
SECRETS_FILE = "hostwright_secrets_file"
"""The one variable of it that the lab's site data does not hold: the lab's inventory plugin gives it."""


def copy_example(target: Path) -> Path:
    """As its README says."""
    subprocess.run(["cp", "-RL", str(EXAMPLE), str(target)], check=True)
    return target


def fill_in(inventory: Path, site: Mapping[str, Any]) -> None:
    """Replace the example's site: each member as `hostwright_<member>`, the secrets file as it is."""
    file = inventory / SITE
    kept = {name: value for name, value in yaml.safe_load(file.read_text()).items() if name == SECRETS_FILE}
    file.write_text(yaml.safe_dump({f"hostwright_{name}": value for name, value in site.items()} | kept))
