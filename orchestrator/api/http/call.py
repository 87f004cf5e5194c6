"""What an endpoint works with: the parts of the process, and one request."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from starlette.datastructures import Headers, QueryParams

from orchestrator.api.http.auth import Tokens, TokenUses, read_token, unauthenticated
from orchestrator.api.http.changes import Changes, Waker
from orchestrator.api.http.limits import Limiter
from orchestrator.api.http.parameters import SERVER, Parameter
from orchestrator.api.http.readiness import Readiness
from orchestrator.api.http.streams import Streams
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
    readiness: Readiness
    streams: Streams
    document: Callable[[str], bytes]
    """Renders the OpenAPI document for clients that see the API below a prefix."""
    started: float = field(default_factory=time.monotonic)
    """When the process started, on time.monotonic()."""

    @property
    def vouched_seconds(self) -> float:
        """How old what the proxy said may be. What came before this process, a restarted proxy may have forgotten."""
        return min(self.settings.proxy_status_seconds, time.monotonic() - self.started)


@dataclass
class Call:
    """One request: what came with it, and what `serving` finds out about it on its way."""

    parts: Parts
    method: str
    route: str
    address: str | None
    path: dict[str, Any]
    query: QueryParams
    headers: Headers
    parameters: tuple[Parameter[Any], ...] = ()
    """The parameters that the endpoint's row names."""
    prefix: str = ""
    """The path below which the client sees the API. Every link of the answer begins with it."""
    body: bytes = b""
    caller: Principal | None = None
    """Whose token it is; None until the token was looked up, and at public endpoints."""
    actor: str | None = None
    """Who the audit log names when the request was not made with a token."""
    target: str | None = None
    """What the audit log names as changed when no id in the path tells it."""
    audited: bool = False
    """Whether the request is in the audit log already, or need not be."""

    @property
    def principal(self) -> Principal:
        """Who asks. Raises Problem (unauthenticated) at public endpoints, where no token is looked up."""
        if self.caller is None:
            raise unauthenticated()
        return self.caller

    def read(self, parameter: Parameter[T]) -> T:
        """Read a parameter. Raises Problem: invalid-request, or not-found in a path."""
        if parameter not in self.parameters:
            raise LookupError(f"the row of {self.method} {self.route} does not name the parameter {parameter.name}")
        places = {"path": self.path, "query": self.query, "header": self.headers}
        return parameter.read(places[parameter.place])

    def server(self) -> dict[str, Any]:
        """The instance that the path names, as arguments for the store: its id, or the VMID of a live one."""
        named = self.read(SERVER)
        by_id = isinstance(named, UUID)
        return {
            "server_id": named if by_id else None,
            "vmid": None if by_id else named,
            "customer_id": self.principal.customer_id,
        }

    async def identify(self) -> Principal:
        """Find out by its token who asks. Raises Problem: unauthenticated, or rate-limited."""
        authorization = self.headers.get("authorization")
        principal = self.parts.tokens.recall(authorization)
        if principal is None:
            with self.parts.limiter.suspect(self.address) as is_over:
                token = read_token(authorization)
                if token is None:
                    raise unauthenticated()
                async with self.parts.limiter.suspects if is_over else nullcontext():
                    principal = await self.in_thread(self.parts.tokens.look_up, token)
        if principal.token_id is not None:
            self.parts.uses.note(principal.token_id, self.address)
        self.caller = principal
        return principal

    async def wait(self, changed: asyncio.Event, seconds: float) -> bool:
        """Wait for an event, and find out again who asks: the token may have been revoked. Returns whether it came.

        Raises Problem as `identify` does.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), seconds)
        await self.identify()
        return changed.is_set()

    async def in_thread(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Run a function that blocks, such as a verb of the store, in one of the process's threads."""
        return await asyncio.get_running_loop().run_in_executor(self.parts.threads, partial(function, *given, **named))
