"""What an endpoint works with: the parts of the process, and one request with its body read."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

from orchestrator.api.auth import Tokens, unauthenticated
from orchestrator.api.changes import Changes, Waker
from orchestrator.api.problems import not_found
from orchestrator.api.requests import invalid
from orchestrator.api.responses import Accepted, Answer
from orchestrator.billing import Action, refuse
from orchestrator.catalogue import Catalogue
from orchestrator.models import Principal
from orchestrator.settings import Settings
from orchestrator.store import accounts
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
    threads: ThreadPoolExecutor


@dataclass(frozen=True)
class Call:
    """One request, its body read and bounded."""

    parts: Parts
    path: dict[str, Any]
    query: QueryParams
    headers: Headers
    body: bytes = b""
    legacy: bool = False
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
            principal = await self.in_thread(self.parts.tokens.principal, authorization)
        self._who["it"] = principal
        return principal

    def permit(self, action: Action) -> None:
        """Let operators and customers of good standing pass. Raises Problem when the billing state refuses."""
        if self.principal.customer_id is None:
            return
        refusal = refuse(accounts.billing_state(self.parts.database, self.principal.customer_id), action)
        if refusal is not None:
            raise refusal

    async def in_thread(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Run what blocks, such as the store's verbs, in one of the process's threads."""
        return await asyncio.get_running_loop().run_in_executor(self.parts.threads, partial(function, *given, **named))

    def uuid(self, name: str) -> UUID:
        """A path parameter that must be a UUID; anything else is an unknown thing. Raises Problem."""
        try:
            return UUID(self.path[name])
        except ValueError:
            raise not_found() from None

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

    def choice(self, name: str, choices: type[Any]) -> str | None:
        """A value of an enumeration in the query. Raises Problem (invalid-request)."""
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
