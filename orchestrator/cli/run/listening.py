"""Where the API is to listen: whether that can be done is found out before anything is started."""

import errno
import socket
from collections.abc import Collection

from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import Settings


def find_port(settings: Settings, given: Collection[str] = ()) -> int:
    """Return the port to listen on, which is a free one for port 0.

    `given` are the settings that were given as options, so that an error names what a person has written. Raises
    ConfigurationError when nobody can listen there.
    """
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        blames_port = error.errno in {errno.EADDRINUSE, errno.EACCES}
        name, value = ("port", settings.port) if blames_port else ("host", settings.host)
        written = f"--{name} {value}" if name in given else f"HOSTWRIGHT_{name.upper()}={value}"
        remedy = "name another port, or 0 for a free one" if blames_port else "name an address of this machine"
        raise ConfigurationError(f"{written} cannot be used ({error.strerror}): {remedy}") from error
