"""Rate limits: how often a token may ask in this process, and how often an address with bad tokens may try."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network

from orchestrator.api.http.rates import Buckets, Rate, Wait
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.models import Principal
from orchestrator.settings import Settings

OPERATOR_FACTOR = 10
"""An operator's limits are so many times a customer's, because a portal asks for many customers with one token."""


class TooMany(Problem):
    """A request was refused because of its rate. `first` tells whether it is the first of a row of refusals."""

    def __init__(self, detail: str, wait: Wait) -> None:
        """`detail` says whose rate is too high."""
        text = f"{detail}: wait {wait.seconds} s"
        super().__init__(ProblemCode.RATE_LIMITED, text, headers={"Retry-After": str(wait.seconds)})
        self.first = wait.first


class Limiter:
    """The token buckets of a process, sized by its settings."""

    def __init__(self, settings: Settings) -> None:
        """Begin with full buckets."""
        self._any = Rate(settings.rate_per_second, settings.rate_burst)
        self._changes = Rate(settings.change_rate_per_second, settings.change_rate_burst)
        self._failed = Rate(settings.failed_auth_per_second, settings.failed_auth_burst)
        self._streams = settings.streams_per_token
        self._buckets = Buckets()
        # Apart, so that many strangers cannot push out the buckets of tokens.
        self._strangers = Buckets()
        self.suspects = asyncio.Semaphore(1)
        """Whoever comes from an address over its limit is looked up in turn, so that a flood costs one connection."""

    def admit(self, principal: Principal, *, changes: bool) -> None:
        """Count a request of a token. Raises TooMany."""
        now = time.monotonic()
        factor = OPERATOR_FACTOR if principal.is_operator else 1
        counted = [("changes", self._changes)] if changes else []
        for kind, rate in (*counted, ("any", self._any)):
            wait = self._buckets.take((kind, principal.token_id), rate.times(factor), now=now)
            if wait is not None:
                raise TooMany("this token asks too often", wait)

    def admit_stream(self, principal: Principal, is_open: int) -> None:
        """Let a token open one more stream, of which so many are open. Raises Problem (rate-limited)."""
        most = self._streams * (OPERATOR_FACTOR if principal.is_operator else 1)
        if is_open >= most:
            text = f"this token has {is_open} streams open, and may have {most} at once: close some"
            raise Problem(ProblemCode.RATE_LIMITED, text, headers={"Retry-After": "5"})

    @contextmanager
    def suspect(self, address: str | None, is_proven: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Count a request as one with a bad token, signature or callback, until it turns out to be good.

        It is counted before it is known, so that requests which are held back count too. Yields whether its address is
        over the limit: then a Problem becomes TooMany, unless the request has proven by then who sent it. Nobody who
        proves to be good is kept out, because others may share the address.
        """
        who = neighbourhood(address)
        wait = self._strangers.take(who, self._failed, now=time.monotonic())
        good = True
        try:
            yield wait is not None
        except Problem as problem:
            good = is_proven()
            if wait is not None and not good:
                raise TooMany("too many requests without a good token came from your address", wait) from problem
            raise
        finally:
            if good:
                self._strangers.give_back(who, self._failed, wait)


def neighbourhood(address: str | None) -> str | None:
    """The network that an address is counted as. With IPv6 anybody has a whole /64, and so a new address each time."""
    found = ip_address(address) if address else None
    return str(ip_network((found, 64), strict=False)) if isinstance(found, IPv6Address) else address
