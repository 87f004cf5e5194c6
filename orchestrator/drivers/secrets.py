"""The secrets file and its values by name, read where they are used: no argument, variable or message holds one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import stat
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote, quote_plus

from orchestrator.domain.errors import Code, ConfigurationError
from orchestrator.drivers.result import PhaseError

T = TypeVar("T")

MASK = "***"
# A shorter value would turn ordinary words of every message into stars; no real secret is this short.
SHORTEST_SCRUBBED = 4


class Secrets:
    """The JSON object of names and values in one 0600 file."""

    def __init__(self, path: str | Path | None) -> None:
        self._path = Path(path) if path else None
        self._values: dict[str, str] | None = None
        self._derived: set[str] = set()

    def get(self, name: str) -> str:
        """Raises PhaseError `internal` when the file or the name is missing, or others may read the file."""
        value = self._load().get(name)
        if not value:
            raise PhaseError(Code.INTERNAL, f"secret {name} is missing in {self._path}: add it to that file")
        return value

    def derive(self, name: str, purpose: str) -> str:
        """The hex digest of HMAC-SHA-256 over the purpose. It is scrubbed as a secret, too. Raises as `get` does."""
        value = hmac.new(self.get(name).encode(), purpose.encode(), hashlib.sha256).hexdigest()
        self._derived.add(value)
        return value

    def scrub(self, value: T) -> T:
        """The same structure with every secret value in it, in each form it travels in, replaced by `***`."""
        forms = self._forms()
        return cast(T, _replace(value, forms)) if forms else value

    def _load(self) -> dict[str, str]:
        if self._values is None:
            if self._path is None:
                raise PhaseError(
                    Code.INTERNAL, "hostwright_secrets_file is not set: point it at the JSON file of secrets"
                )
            try:
                self._values = read_secrets(self._path)
            except ConfigurationError as error:
                raise PhaseError(Code.INTERNAL, str(error)) from None
        return self._values

    def _forms(self) -> list[str]:
        try:
            values = [*self._load().values(), *self._derived]
        except PhaseError:
            return []  # a task that needs no secret works without the file, and then there is nothing to hide
        forms = {form for value in values if len(value) >= SHORTEST_SCRUBBED for form in _forms_of(value)}
        return sorted(forms, key=len, reverse=True)


def read_secrets(path: Path) -> dict[str, str]:
    """The values of a secrets file by their names.

    Raises ConfigurationError when the file is missing, may be read by others, is not a JSON object of strings, or holds
    a value that no system takes as a secret, such as one with a line break: libraries quote such a value in their
    errors.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigurationError(f"the secrets file {path} may be read by others: chmod 600 it")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"the secrets file {path} cannot be read: {error.strerror}") from error
    except ValueError:
        # The error holds the file's text, which must not reach a log.
        raise ConfigurationError(f"the secrets file {path} is not JSON") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"the secrets file {path} must hold a JSON object")
    for name, value in content.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"the secret {name!r} in {path} is not a string: put its value in quotes")
        if not value.isprintable() or value != value.strip():
            raise ConfigurationError(
                f"the secret {name!r} in {path} holds a line break or another control character, "
                "or begins or ends with a blank: write its value alone"
            )
    return content


def _forms_of(value: str) -> set[str]:
    """Every spelling in which a library may quote it: plain, Python's, JSON's, a URL's, hex and base64.

    The hex digest counts too: the proxy bridge takes it in place of the secret.
    """
    coded = value.encode()
    spelled = {
        value, repr(value)[1:-1], repr(coded)[2:-1], ascii(value)[1:-1],
        json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1],
    }  # fmt: skip
    urls = {encode(form, safe=safe) for form in spelled for encode in (quote, quote_plus) for safe in ("", "/")}
    lower = {re.sub("%..", lambda found: found[0].lower(), form) for form in urls}
    hexes = {coded.hex(), hashlib.sha256(coded).hexdigest()}
    return spelled | urls | lower | hexes | {hex_.upper() for hex_ in hexes} | _base64_of(coded)


def _base64_of(coded: bytes) -> set[str]:
    """What base64 makes of it at the beginning, in the middle or at the end of a longer text.

    Three bytes become four characters, so it depends on the place, and its first and last characters depend on the
    neighbours, too. Those are left out.
    """
    forms = set()
    for before in range(3):
        begin, end = -(-before * 4 // 3), (before + len(coded)) * 4 // 3
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            padded = encode(bytes(before) + coded + bytes(2)).decode()
            forms.add(padded[begin:end])
    return {form for form in forms if len(form) >= SHORTEST_SCRUBBED} | {base64.b64encode(coded).decode()}


def _replace(value: Any, forms: list[str]) -> Any:
    if isinstance(value, str):
        for form in forms:
            value = value.replace(form, MASK)
        return value
    if isinstance(value, dict):
        return {_replace(key, forms): _replace(item, forms) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace(item, forms) for item in value]
    return value
