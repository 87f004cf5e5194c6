"""Reads the site's inventory through ansible-inventory, so that inventory plugins are honoured, and checks it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import ConfigurationError
from orchestrator.drivers.dns.factory import parse_providers
from orchestrator.drivers.proxy.factory import parse_proxy, require_host
from orchestrator.drivers.result import PhaseError
from orchestrator.play.forms import PLAIN_KEYS, find_wrong_forms
from orchestrator.settings import PROJECT_DIR, Settings

PLACEHOLDER = "CHANGE_ME"
"""The text in inventory/production.example wherever only the site's owner knows the value."""
NEEDED: dict[str, tuple[str, ...]] = {
    "hostwright_proxmox": ("host", "node", "user", "token_name"),
    "hostwright_templates": ("game", "dev"),
    "hostwright_network": ("game", "dev"),
    "hostwright_agent": ("port",),
}
"""The variables that every site needs, and the keys that each must have. What the edge needs, its drivers know."""
_PROXIES = ("hostwright_proxy", "hostwright_entry_points")
"""The variables that name a proxy. The second is needed where the catalogue offers entry points."""
_PROXMOX_SECRET = "proxmox_token"  # noqa: S105  # a secret's name: the default of hostwright_proxmox.secret
_SECONDS = 60
"""How long ansible-inventory may take; it is half a second on an idle machine."""


def load_catalogue(path: Path) -> Catalogue:
    """Read the catalogue file of an inventory.

    Raises ConfigurationError, which names the place, when the file is missing or wrong.
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
    """Check that the inventory is a directory and has been filled in.

    Raises ConfigurationError with a sentence for each place that still holds the placeholder.
    """
    if not inventory.is_dir():
        raise ConfigurationError(
            f"HOSTWRIGHT_INVENTORY names {inventory}, which is not a directory: copy inventory/production.example there"
        )
    problems = [problem for file in sorted(inventory.rglob("*.yml")) for problem in _report_unfilled(file)]
    if problems:
        raise ConfigurationError("\n".join(problems))


def find_problems(variables: Mapping[str, Any], secrets: Mapping[str, Any], hosts: Collection[str]) -> list[str]:
    """Return a sentence for each variable that the site lacks or that is wrong, and for each secret that it names but
    does not have. `hosts` are those of the inventory."""
    proxies = _PROXIES if _offers_entry_points(variables) else _PROXIES[:1]
    site = {name: variables.get(name) for name in (*NEEDED, "hostwright_dns", *proxies)}
    return [
        *(_say_missing(place) for name, keys in NEEDED.items() for place in _find_missing_keys(name, site[name], keys)),
        *find_wrong_forms(site, PLACEHOLDER),
        *_find_provider_problems(site["hostwright_dns"]),
        *_find_agent_problems(site["hostwright_agent"], secrets),
        *(problem for name in proxies for problem in _find_proxy_problems(name, site[name], hosts)),
        *(
            f"the secret {name}, which the inventory names, is not in the secrets file: add it there"
            for name in sorted(_name_secrets(site))
            if not secrets.get(name)
        ),
    ]


def name_secrets(variables: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the names of the secrets that the roles use. None when a template may still name any."""
    site = {name: value for name, value in variables.items() if name in (*NEEDED, "hostwright_dns", *_PROXIES)}
    return None if any(map(_may_name_any, site.values())) else frozenset(_name_secrets(site))


def read_variables(settings: Settings) -> dict[str, Any]:
    """Return the variables of the site, as Ansible reads them. Raises ConfigurationError."""
    return _ask_ansible(settings, "--host", "localhost")


def read_hosts(settings: Settings) -> set[str]:
    """Return the names of all hosts of the inventory, as Ansible reads it. Raises ConfigurationError."""
    groups = _ask_ansible(settings, "--list")
    return {host for group in groups.values() for host in group.get("hosts", [])}


def _ask_ansible(settings: Settings, *question: str) -> dict[str, Any]:
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(settings.inventory), *question]
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
    """Return the Proxmox node that the inventory's `hostwright_proxmox` names. Raises ConfigurationError."""
    try:
        return str(read_variables(settings)["hostwright_proxmox"]["node"])
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            f"HOSTWRIGHT_NODE_CONCURRENCY needs hostwright_proxmox.node in the inventory {settings.inventory}"
        ) from error


def _offers_entry_points(variables: Mapping[str, Any]) -> bool:
    games = variables.get("hostwright_catalogue", {}).get("games", {})
    return any(game.get("edge") == "entry-point" for game in games.values())


def _find_missing_keys(name: str, value: Any, keys: tuple[str, ...]) -> list[str]:
    if not isinstance(value, dict):
        return [name]
    return [f"{name}.{key}" for key in keys if value.get(key) in (None, "")]


def _say_missing(place: str) -> str:
    return f"the inventory does not set {place}: see inventory/production.example"


def _find_provider_problems(entries: Any) -> Iterator[str]:
    if not isinstance(entries, list):
        yield _say_missing("hostwright_dns")
        return
    whole = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            yield _say_missing(f"hostwright_dns[{number}]")
        elif problem := _explain(parse_providers, [entry]):
            yield problem
        else:
            whole.append(entry)
    if problem := _explain(parse_providers, whole):
        yield problem


def _find_agent_problems(agent: Any, secrets: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(agent, dict) or not agent.get("secret"):
        return
    value = secrets.get(agent["secret"])
    if value and value == secrets.get(str(agent.get("master_secret"))):
        yield (
            "hostwright_agent.master_secret has the value of the template's token, which every container has: "
            "make up another secret for it"
        )


def _find_proxy_problems(name: str, entry: Any, hosts: Collection[str]) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield _say_missing(name)
    elif problem := _explain(lambda: require_host(parse_proxy(entry), hosts)):
        yield problem


def _explain(check: Callable[..., object], *given: Any) -> str | None:
    """Return what a driver says of its part of the inventory; None when it is right."""
    try:
        check(*given)
    except PhaseError as error:
        return error.message
    return None


def _report_unfilled(file: Path) -> Iterator[str]:
    """Yield a sentence for each place of a file that still holds the placeholder."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader) if PLACEHOLDER in text else None
    except FileNotFoundError:
        yield f"{file} is a link to a missing file: copy the example with cp -RL, which follows its links"
    except (OSError, yaml.YAMLError) as error:
        yield f"{file} cannot be read: {error}"
    else:
        for place in _find_placeholders(tree, ""):
            yield f"{file}: {place} still says {PLACEHOLDER}: write your site's value there"


def _find_placeholders(node: yaml.Node | None, path: str) -> Iterator[str]:
    """Yield the path of each placeholder in a node of a YAML document."""
    if isinstance(node, yaml.ScalarNode) and PLACEHOLDER in node.value:
        yield path
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _find_placeholders(value, f"{path}.{key.value}".lstrip("."))
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _find_placeholders(item, f"{path}[{number}]")


def _name_secrets(site: Mapping[str, Any]) -> set[str]:
    proxmox = site.get("hostwright_proxmox")
    default = not isinstance(proxmox, dict) or not proxmox.get("secret")
    return {*_find_secret_names(site), *([_PROXMOX_SECRET] if default else [])}


def _may_name_any(value: Any) -> bool:
    """Return whether a template stands where it can name a secret, or stand for what names one."""
    if isinstance(value, dict):
        return any(_may_name_any(item) for key, item in value.items() if key not in PLAIN_KEYS)
    if isinstance(value, list):
        return any(map(_may_name_any, value))
    return isinstance(value, str) and "{{" in value


def _find_secret_names(value: Any) -> Iterator[str]:
    """Yield the name of every secret in a value of the inventory."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("secret", "master_secret") and isinstance(item, str) and item:
                yield item
            else:
                yield from _find_secret_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _find_secret_names(item)
