"""The path below which a client sees the API, when a reverse proxy shows it there. Pure."""

import re
from collections.abc import Collection, Sequence

from orchestrator.api.http.addresses import Networks, is_trusted

# Never an empty part: "//host" would be a link to another server.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")


def find_prefix(peer: str | None, forwarded: Sequence[str], trusted: Networks, configured: str) -> str:
    """Find the prefix that every link of an answer gets.

    `forwarded` are the lines of X-Forwarded-Prefix. The last value counts, because the nearest proxy adds it, and only
    if that proxy is trusted. Otherwise, or when it is no path, it is `configured`, the path of the public URL.
    """
    named = ",".join(forwarded).rpartition(",")[2].strip()
    if not named or not is_trusted(peer, trusted):
        return configured
    stripped = named.rstrip("/")
    return stripped if _PREFIX.fullmatch(stripped) or named == "/" else configured


def place_below(prefix: str, path: str, rooms: Collection[str]) -> str:
    """Return a request's path with its prefix, which a proxy may have taken off or left on.

    `rooms` are the first parts of the API's own paths. They tell whether the prefix is there: the API may be shown
    below /api, too.
    """
    rest = path.removeprefix(f"{prefix}/")
    left_on = rest != path and rest.partition("/")[0] in rooms
    return path if left_on else prefix + path
