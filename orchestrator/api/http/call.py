"""What an endpoint works with: the parts of the process, and one request with its body read."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

from orchestrator.api.http.answers import Accepted, Answer
from orchestrator.api.http.auth import Tokens, TokenUses, unauthenticated
from orchestrator.api.http.changes import Changes, Waker
from orchestrator.api.http.limits import Limiter
from orchestrator.api.http.problems import not_found
from orchestrator.api.instances.orders import CUSTOMER_ID, invalid
from orchestrator.domain.billing import Action, refuse
from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import ConfigurationError, ProblemCode
from orchestrator.domain.models import AuditEntry, Principal
from orchestrator.drivers.secrets import read_secrets
from orchestrator.settings import Settings
from orchestrator.store import accounts
from orchestrator.store.connection import Database

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9]{1,9}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

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
class Trace:
    """What the audit log is to say of a request beyond its answer."""

    actor: str | None = None
    """Who it is, where that is no token."""
    target: str | None = None
    audited: bool = False
    """It is in the log already, or need not be."""


@dataclass(frozen=True)
class Call:
    """One request, its body read and bounded."""

    parts: Parts
    method: str
    route: str
    address: str | None
    path: dict[str, Any]
    query: QueryParams
    headers: Headers
    body: bytes = b""
    legacy: bool = False
    trace: Trace = field(default_factory=Trace)
    _who: dict[str, Principal] = field(default_factory=dict)

    @property
    def principal(self) -> Principal:
        """Who asks. Raises Problem (unauthenticated) where nobody was asked, as at public endpoints."""
        if "it" not in self._who:
            raise unauthenticated()
        return self._who["it"]

    async def identify(self) -> Principal:
        """Find out who asks. Raises Problem (unauthenticated)."""
        authorization = self.headers.get("authorization")
        principal = self.parts.tokens.remembered(authorization)
        if principal is None:
            if not self.parts.tokens.was_good(authorization):
                self.parts.limiter.admit_stranger(self.address)
            principal = await self.in_thread(self.parts.tokens.principal, authorization)
        self._who["it"] = principal
        if principal.token_id is not None:
            self.parts.uses.note(principal.token_id, self.address)
        return principal

    def entry(self, *, status: int, code: ProblemCode | None = None, operation_id: UUID | None = None) -> AuditEntry:
        """The line of this request for the audit log. Nothing of it but ids is what the client wrote."""
        who = self._who.get("it")
        return AuditEntry(
            principal=self.trace.actor or (who.name if who else "-"),
            token_id=who.token_id if who else None,
            customer_id=who.customer_id if who else None,
            address=self.address,
            method=self.method,
            route=self.route,
            target=self.trace.target or next(filter(None, map(_known_id, self.path.items())), "-"),
            status=status,
            code=code,
            operation_id=operation_id,
        )

    def permit(self, action: Action) -> None:
        """Let operators and customers of good standing pass. Raises Problem when the billing state refuses."""
        if self.principal.customer_id is None:
            return
        refusal = refuse(accounts.billing_state(self.parts.database, self.principal.customer_id), action)
        if refusal is not None:
            raise refusal

    def secret(self, name: str) -> str | None:
        """One of the secrets file, or None when it is not there."""
        try:
            secret = read_secrets(self.parts.settings.secrets_path).get(name)
        except ConfigurationError as error:
            log.warning("%s: %s", self.route, error)
            return None
        return secret if isinstance(secret, str) and secret else None

    async def in_thread(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Run what blocks, such as the store's verbs, in one of the process's threads."""
        return await asyncio.get_running_loop().run_in_executor(self.parts.threads, partial(function, *given, **named))

    def uuid(self, name: str) -> UUID:
        """A path parameter that must be a UUID as we spell it; anything else is an unknown thing. Raises Problem."""
        try:
            found = UUID(self.path[name])
        except ValueError:
            raise not_found() from None
        if str(found) != str(self.path[name]).lower():  # the audit log would not know what was meant
            raise not_found()
        return found

    def server(self) -> dict[str, Any]:
        """The instance a path names, by its id or the VMID of a live one, as the store looks it up."""
        text = self.path["server_id"]
        owner = {"customer_id": self.principal.customer_id}
        if text.isascii() and text.isdigit() and len(text) <= 9:
            return {"server_id": None, "vmid": int(text), **owner}
        return {"server_id": self.uuid("server_id"), "vmid": None, **owner}

    def number(self, name: str, *, default: int, low: int, high: int) -> int:
        """A whole number of the query. Raises Problem (invalid-request)."""
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 18 or not low <= int(text) <= high:
            invalid([{"parameter": name, "detail": f"must be a whole number from {low} to {high}"}])
        return int(text)

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        """One of these words in the query. Raises Problem (invalid-request)."""
        text = self.query.get(name)
        known = [str(choice) for choice in choices]
        if text is not None and text not in known:
            invalid([{"parameter": name, "detail": f"must be one of {', '.join(known)}"}])
        return text

    def cursor(self) -> UUID | None:
        """The `after` of the query. Raises Problem (invalid-request)."""
        text = self.query.get("after")
        try:
            return UUID(text) if text is not None else None
        except ValueError:
            invalid([{"parameter": "after", "detail": "must be the `next` of the page before"}])


def _known_id(parameter: tuple[str, Any]) -> str | None:
    """A path's parameter if it has the form of an id: a token in the place of one must not be kept."""
    name, text = parameter[0], str(parameter[1])
    if name == "customer_id":
        return text if CUSTOMER_ID.fullmatch(text) else None
    return text if _ID.fullmatch(text) else None


def answer(body: Answer, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps."""
    return Response(
        body.json_bytes(),
        status,
        headers={"Cache-Control": "no-store"} | (headers or {}),
        media_type="application/json",
    )


def accepted_answer(body: Accepted, headers: dict[str, str]) -> Response:
    """The answer to what was accepted and is going to happen."""
    return answer(body, 202, {"Location": body.status_url, "Retry-After": "1"} | headers)
