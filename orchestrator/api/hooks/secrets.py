"""The secrets with which other systems sign or prove their calls."""

import logging

from orchestrator.api.http.call import Call
from orchestrator.domain.errors import ConfigurationError
from orchestrator.drivers.secrets import read_secrets

log = logging.getLogger(__name__)


def read_secret(call: Call, name: str) -> str | None:
    """Read a secret from the secrets file. Returns None when the file or the secret is missing."""
    try:
        secret = read_secrets(call.parts.settings.secrets_path).get(name)
    except ConfigurationError as error:
        log.warning("%s: %s", call.route, error)
        return None
    return secret if isinstance(secret, str) and secret else None
