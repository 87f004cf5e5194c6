"""The secrets that a run gets: those that the inventory names for its roles, and no others of the secrets file."""

import threading
from contextlib import suppress

from orchestrator.domain.errors import ConfigurationError
from orchestrator.drivers.secrets import read_secrets
from orchestrator.play.inventory import name_secrets, read_variables
from orchestrator.settings import Settings

Fingerprint = frozenset[tuple[str, int, int]]

_lock = threading.Lock()
_known: dict[Fingerprint, frozenset[str] | None] = {}
"""What the newest state of the inventory names. To ask Ansible takes half a second, which no order should wait for."""


def read_named_secrets(settings: Settings) -> dict[str, str]:
    """Read the secrets that the roles name. Raises ConfigurationError."""
    secrets = read_secrets(settings.secrets_path)
    with _lock:
        try:
            seen = _take_fingerprint(settings)
        except OSError as error:
            raise ConfigurationError(f"the inventory {settings.inventory} cannot be read: {error}") from error
        if seen not in _known:
            names = name_secrets(read_variables(settings))
            _known.clear()
            _known[seen] = names
        named = _known[seen]
    return {name: value for name, value in secrets.items() if named is None or name in named}


def _take_fingerprint(settings: Settings) -> Fingerprint:
    """What changes when a file of the inventory does. The lab's inventory reads a file of its state directory, too."""
    files = [*settings.inventory.rglob("*"), settings.state_dir / "lab" / "site.json"]
    found = []
    for file in files:
        with suppress(FileNotFoundError):  # an editor's or a copier's, gone meanwhile
            found.append((file, file.stat()))
    return frozenset((str(file), stat.st_mtime_ns, stat.st_size) for file, stat in found)
