"""The little that is to be known of the inventory outside Ansible, which reads it, so that every plugin counts."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import PROJECT_DIR, Settings

PLACEHOLDER = "CHANGE_ME"
"""What stands in inventory/production.example wherever only the site's owner knows the value."""
_NEEDED: dict[str, tuple[str, ...]] = {
    "hostwright_proxmox": ("host", "node", "user", "token_name"),
    "hostwright_templates": ("game", "dev"),
    "hostwright_network": ("game", "dev"),
    "hostwright_agent": ("port",),
    "hostwright_dns": ("name", "driver", "zone", "address", "nameserver"),
    "hostwright_proxy": ("driver", "url"),
}
"""The variables of a site, and what none of them can be without; a list, of each of its entries."""
_ENTRY_POINTS = {"hostwright_entry_points": ("driver", "host", "directory")}
"""The same, where the catalogue offers a game that needs it."""
_PROXMOX_SECRET = "proxmox_token"  # noqa: S105  # a secret's name: the default of hostwright_proxmox.secret
_SECONDS = 60
"""How long ansible-inventory may take; it is half a second on an idle machine."""


def load_catalogue(path: Path) -> Catalogue:
    """Read the catalogue file of an inventory.

    Raises ConfigurationError when it is missing or wrong, naming the place.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Catalogue.model_validate(data["hostwright_catalogue"])
    except OSError as error:
        raise ConfigurationError(f"the catalogue {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} holds no hostwright_catalogue: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}: {place}: {first['msg']}") from error


def require_filled(inventory: Path) -> None:
    """Raises ConfigurationError where the inventory is none, or was copied and not filled in: one sentence a place."""
    if not inventory.is_dir():
        raise ConfigurationError(
            f"HOSTWRIGHT_INVENTORY names {inventory}, which is not a directory: copy inventory/production.example there"
        )
    problems = [problem for file in sorted(inventory.rglob("*.yml")) for problem in _unfilled(file)]
    if problems:
        raise ConfigurationError("; ".join(problems))


def problems_of(variables: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[str]:
    """What a site lacks: variables that every site needs, and values of the secrets that it names."""
    needed = _NEEDED | (_ENTRY_POINTS if _offers_entry_points(variables) else {})
    site = {name: variables.get(name) for name in needed}
    proxmox = site["hostwright_proxmox"]
    named = set(_secrets_in(site))
    if not isinstance(proxmox, dict) or not proxmox.get("secret"):
        named.add(_PROXMOX_SECRET)
    return [
        *(
            f"the inventory does not say {place}: see inventory/production.example"
            for name, keys in needed.items()
            for place in _missing(name, site[name], keys)
        ),
        *(
            f"the secret {name}, which the inventory names, is not in the secrets file: add it there"
            for name in sorted(named)
            if not secrets.get(name)
        ),
    ]


def read_variables(settings: Settings) -> dict[str, Any]:
    """The variables of the site, as Ansible has them. Raises ConfigurationError."""
    command = [
        str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(settings.inventory), "--host", "localhost"
    ]  # fmt: skip
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(PROJECT_DIR / "ansible.cfg"),
        "HOSTWRIGHT_STATE_DIR": str(settings.state_dir),
    }
    try:
        done = subprocess.run(
            command, env=environment, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
        return dict(json.loads(done.stdout))
    except subprocess.CalledProcessError as error:
        raise ConfigurationError(
            f"Ansible cannot read the inventory {settings.inventory}: {error.stderr.strip()}"
        ) from error
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ConfigurationError(f"Ansible cannot read the inventory {settings.inventory}: {error}") from error


def proxmox_node(settings: Settings) -> str:
    """The Proxmox node that the inventory's `hostwright_proxmox` names. Raises ConfigurationError."""
    try:
        return str(read_variables(settings)["hostwright_proxmox"]["node"])
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            f"HOSTWRIGHT_NODE_CONCURRENCY needs hostwright_proxmox.node in the inventory {settings.inventory}"
        ) from error


def _offers_entry_points(variables: Mapping[str, Any]) -> bool:
    games = variables.get("hostwright_catalogue", {}).get("games", {})
    return any(game.get("edge") == "entry-point" for game in games.values())


def _missing(name: str, value: Any, keys: tuple[str, ...]) -> list[str]:
    if isinstance(value, list):
        return [place for number, entry in enumerate(value) for place in _missing(f"{name}[{number}]", entry, keys)]
    if not isinstance(value, dict):
        return [name]
    return [f"{name}.{key}" for key in keys if value.get(key) in (None, "")]


def _unfilled(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader) if PLACEHOLDER in text else None
    except FileNotFoundError:
        yield f"{file} is a link to nothing: copy the example with cp -RL, which copies what links lead to"
    except (OSError, yaml.YAMLError) as error:
        yield f"{file} cannot be read: {error}"
    else:
        for place in _places(tree, ""):
            yield f"{file}: {place} still says {PLACEHOLDER}: write what your site has there"


def _places(node: yaml.Node | None, path: str) -> Iterator[str]:
    if isinstance(node, yaml.ScalarNode) and PLACEHOLDER in node.value:
        yield path
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _places(value, f"{path}.{key.value}".lstrip("."))
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _places(item, f"{path}[{number}]")


def _secrets_in(value: Any) -> Iterator[str]:
    """Every secret's name in it."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "secret" and isinstance(item, str) and item:
                yield item
            else:
                yield from _secrets_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets_in(item)
