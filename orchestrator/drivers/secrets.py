"""The secrets file and its values by name, read where they are used: no argument, variable or message holds one."""

from __future__ import annotations

import hashlib
import json
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

    def get(self, name: str) -> str:
        """Raises PhaseError `internal` when the file or the name is missing, or others may read the file."""
        value = self._load().get(name)
        if not value:
            raise PhaseError(Code.INTERNAL, f"secret {name} is missing in {self._path}: add it to that file")
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
            values = self._load().values()
        except PhaseError:
            return []  # a task that needs no secret works without the file, and then there is nothing to hide
        forms = {form for value in values if len(value) >= SHORTEST_SCRUBBED for form in _forms_of(value)}
        return sorted(forms, key=len, reverse=True)


def read_secrets(path: Path) -> dict[str, str]:
    """The values of a secrets file by their names.

    Raises ConfigurationError when the file is missing, may be read by others, or is not a JSON object of strings.
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
            raise ConfigurationError(f"the secret {name} in {path} is not a string: put its value in quotes")
    return content


def _forms_of(value: str) -> set[str]:
    """Plain, as in a URL, and the hex digest: the proxy bridge takes the digest in place of the secret."""
    return {value, quote(value, safe=""), quote_plus(value), hashlib.sha256(value.encode()).hexdigest()}


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
