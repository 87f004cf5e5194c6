"""The tokens that are shown to an agent: the instance's own, and the one that every clone has from its template.

docs/adr/0011 says why there are two, and how an agent gets its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.drivers.secrets import Secrets

BOOTSTRAP_HEADER = "Hostwright-Bootstrap-Token"


@dataclass(frozen=True)
class Tokens:
    """`own` is None where the site has no master secret, `shared` where its templates have no token."""

    own: str | None = None
    shared: str | None = None

    def headers(self) -> list[dict[str, str]]:
        """The headers to send, and those to send next to an agent that answers 401: it may be of an old template."""
        handing = {BOOTSTRAP_HEADER: self.shared} if self.shared else {}
        ways = [_bearer(self.own) | handing] if self.own else []
        if self.shared or not ways:
            ways.append(_bearer(self.shared) if self.shared else {})
        return ways


def find_tokens(secrets: Secrets, shared: str | None, master: str | None, instance_id: str | None) -> Tokens:
    """The tokens of an instance's agent by the names of the two secrets. Raises PhaseError `internal`."""
    return Tokens(
        own=secrets.derive(master, f"agent:{instance_id}") if master and instance_id else None,
        shared=secrets.get(shared) if shared else None,
    )


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
