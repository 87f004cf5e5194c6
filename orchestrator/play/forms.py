"""The forms of what people write into an inventory: a value of another form fails only in some phase of an order."""

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_USER = re.compile(r"[^\s:/@!]+@[A-Za-z][A-Za-z0-9._-]+")
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9._-]+")
_NODE = re.compile(_LABEL)
_BRIDGE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")


def _is_host(value: object) -> bool:
    try:
        ip_address(str(value))
    except ValueError:
        return isinstance(value, str) and len(value) <= 253 and _HOST.fullmatch(value) is not None
    return True


def _is_port(value: object) -> bool:
    return _is_number(value, 1, 65535)


def _is_vmid(value: object) -> bool:
    return _is_number(value, 100, 999_999_999)


def _is_number(value: object, first: int, last: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and first <= value <= last


def _fits(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


_Form = tuple[Callable[[object], bool], str]
_PORT: _Form = (_is_port, "a number from 1 to 65535")
_TEMPLATE: _Form = (_is_vmid, "the VMID of a template, such as 9000")
_TOKEN_NAME = "the name of the token alone, such as orders, without the user and the exclamation mark"  # noqa: S105
_FORMS: dict[str, dict[str, _Form]] = {
    "hostwright_proxmox": {
        "host": (_is_host, "a host name or an address alone, such as pve1.example.net, without https:// or a port"),
        "port": _PORT,
        "node": (_fits(_NODE), "the name of the node alone, such as pve1"),
        "user": (_fits(_USER), "a user with its realm, such as hostwright@pve"),
        "token_name": (_fits(_TOKEN), _TOKEN_NAME),
    },
    "hostwright_templates": {"game": _TEMPLATE, "dev": _TEMPLATE},
    "hostwright_agent": {"port": _PORT},
}
"""What each value must be (pvesh's own schemas pve-node, pve-userid, pve-tokenid and pve-vmid)."""

PLAIN_KEYS = frozenset(key for forms in _FORMS.values() for key in forms)
"""The keys of the values that name no secret, whatever they are."""


def find_wrong_forms(site: Mapping[str, Any], placeholder: str) -> Iterator[str]:
    """Yield a sentence for each value of the site that has not the form it needs.

    What is missing, templated or still the placeholder is somebody else's to name.
    """
    bridge: _Form = (_fits(_BRIDGE), "the name of a bridge, such as vmbr0")
    networks = _members(site.get("hostwright_network"))
    places = {name: (_members(site.get(name)), forms) for name, forms in _FORMS.items()} | {
        f"hostwright_network.{ctype}": (_members(network), {"bridge": bridge}) for ctype, network in networks.items()
    }
    for name, (values, forms) in places.items():
        for key, (is_right, form) in forms.items():
            value = values.get(key)
            if value in (None, "", placeholder) or "{{" in str(value) or is_right(value):
                continue
            yield f"{name}.{key} is {value!r} and must be {form}"


def _members(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
