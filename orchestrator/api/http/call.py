"""What an endpoint works with: the parts of the process, and one request."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from starlette.datastructures import Headers, QueryParams

from orchestrator.api.http.auth import Tokens, TokenUses, unauthenticated
from orchestrator.api.http.changes import Changes, Waker
from orchestrator.api.http.limits import Limiter
from orchestrator.api.http.parameters import SERVER, Parameter
from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.models import Principal
from orchestrator.settings import Settings
from orchestrator.store.connection import Database

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """The parts of an API process, made once."""

    settings: Settings
    database: Database
    catalogue: Catalogue
    tokens: Tokens
    changes: Changes
    waker: Waker
    uses: TokenUses
    limiter: Limiter
    threads: ThreadPoolExecutor


@dataclass
class Call:
    """One request: what came with it, and what is found out about it on its way (orchestrator.api.http.serving)."""

    parts: Parts
    method: str
    route: str
    address: str | None
    path: dict[str, Any]
    query: QueryParams
    headers: Headers
    parameters: tuple[Parameter[Any], ...] = ()
    """Those that its endpoint names."""
    body: bytes = b""
    caller: Principal | None = None
    """Who asks; nobody before the token was looked up, and at public endpoints."""
    actor: str | None = None
    """Who the audit log says it was, where that is no token."""
    target: str | None = None
    """What the audit log says was changed, where no id in the path says it."""
    audited: bool = False
    """It is in the audit log already, or need not be."""

    @property
    def principal(self) -> Principal:
        """Who asks. Raises Problem (unauthenticated) where nobody was asked, as at public endpoints."""
        if self.caller is None:
            raise unauthenticated()
        return self.caller

    def read(self, parameter: Parameter[T]) -> T:
        """One of the endpoint's parameters. Raises Problem: invalid-request, in a path not-found."""
        if parameter not in self.parameters:
            raise LookupError(f"the row of {self.method} {self.route} does not name the parameter {parameter.name}")
        places = {"path": self.path, "query": self.query, "header": self.headers}
        return parameter.read(places[parameter.place])

    def server(self) -> dict[str, Any]:
        """The instance a path names, as the store looks it up: by its id or by the VMID of a live one."""
        named = self.read(SERVER)
        by_id = isinstance(named, UUID)
        return {
            "server_id": named if by_id else None,
            "vmid": None if by_id else named,
            "customer_id": self.principal.customer_id,
        }

    async def in_thread(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Run what blocks, such as the store's verbs, in one of the process's threads."""
        return await asyncio.get_running_loop().run_in_executor(self.parts.threads, partial(function, *given, **named))
