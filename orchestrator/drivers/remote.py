"""Running a module on the host that a task is delegated to, over Ansible's own connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RunModule = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Module name and arguments to its result, failed or not. Raises HostError."""


class HostError(Exception):
    """The host was not reached; `passing` says whether waiting may help."""

    def __init__(self, words: str, *, passing: bool) -> None:
        super().__init__(words)
        self.passing = passing


# ssh's own words for what no waiting mends.
_LASTING = (
    "permission denied",
    "host key verification failed",
    "identification has changed",
    "too many authentication",
)


def unreachable(words: str) -> HostError:
    """From the words of a failed connection to what they mean."""
    return HostError(" ".join(words.split()), passing=not any(sign in words.lower() for sign in _LASTING))
