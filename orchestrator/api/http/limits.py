"""How often a token, or an address with bad ones, may ask in this process."""

import time
from ipaddress import IPv6Address, ip_address, ip_network

from orchestrator.api.http.rates import Buckets, Rate, Wait
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.models import Principal
from orchestrator.settings import Settings

OPERATOR_FACTOR = 10
"""Operators' tokens are those of portals, which ask for many customers."""


class TooMany(Problem):
    """A request too many; `first` of a row of them."""

    def __init__(self, detail: str, wait: Wait) -> None:
        """`detail` says whose requests they are."""
        text = f"{detail}: wait {wait.seconds} s"
        super().__init__(ProblemCode.RATE_LIMITED, text, headers={"Retry-After": str(wait.seconds)})
        self.first = wait.first


class Limiter:
    """The buckets of a process, by its settings."""

    def __init__(self, settings: Settings) -> None:
        """Begin with all of them full."""
        self._any = Rate(settings.rate_per_second, settings.rate_burst)
        self._changes = Rate(settings.change_rate_per_second, settings.change_rate_burst)
        self._failed = Rate(settings.failed_auth_per_second, settings.failed_auth_burst)
        self._buckets = Buckets()
        # Strangers cannot push the buckets of tokens out.
        self._strangers = Buckets()

    def admit(self, principal: Principal, *, changes: bool) -> None:
        """Count a request. Raises TooMany."""
        now = time.monotonic()
        factor = OPERATOR_FACTOR if principal.is_operator else 1
        counted = [("changes", self._changes)] if changes else []
        for kind, rate in (*counted, ("any", self._any)):
            wait = self._buckets.take((kind, principal.token_id), rate.times(factor), now=now)
            if wait is not None:
                raise TooMany("this token asks too often", wait)

    def admit_stranger(self, address: str | None) -> None:
        """Look nothing up for an address that failed too often. Raises TooMany."""
        wait = self._strangers.empty(neighbourhood(address), self._failed, now=time.monotonic())
        if wait is not None:
            raise TooMany("too many requests without a good token came from your address", wait)

    def failed(self, address: str | None) -> None:
        """Count a request that was not who it said."""
        self._strangers.take(neighbourhood(address), self._failed, now=time.monotonic())


def neighbourhood(address: str | None) -> str | None:
    """Whose an address is: with IPv6 a customer of a provider has a whole /64, and an address for every request."""
    found = ip_address(address) if address else None
    return str(ip_network((found, 64), strict=False)) if isinstance(found, IPv6Address) else address
