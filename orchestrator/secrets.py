"""The secrets file: names and values that the roles and the API use, never written anywhere else."""

import json
import stat
from pathlib import Path
from typing import Any

from orchestrator.errors import ConfigurationError


def read_secrets(path: Path) -> dict[str, Any]:
    """The secrets by name. Raises ConfigurationError when the file is missing, wrong or readable by others."""
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise ConfigurationError(f"the secrets file {path} may be read by others: chmod 600 it")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"the secrets file {path} cannot be read: {error.strerror}") from error
    except ValueError:
        # The error holds the file's text: it must not reach a log.
        raise ConfigurationError(f"the secrets file {path} is not JSON") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"the secrets file {path} must hold a JSON object")
    return data
