"""Who asks: bearer tokens, looked up by hash and remembered for a moment."""

import threading
import time

from orchestrator.errors import Problem, ProblemCode
from orchestrator.models import Principal
from orchestrator.store import accounts
from orchestrator.store.connection import Database

REMEMBER_SECONDS = 5.0
"""How long a found token is believed without asking again: a revoked one works for so long at most."""
_MAX_REMEMBERED = 10_000
_MAX_TOKEN_CHARACTERS = 200


class Tokens:
    """The tokens this process has seen lately. Unknown ones are never remembered."""

    def __init__(self, database: Database) -> None:
        """Begin with none."""
        self._database = database
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._lock = threading.Lock()

    def remembered(self, authorization: str | None) -> Principal | None:
        """The principal of an Authorization header, if it was seen lately; does not block."""
        with self._lock:
            known = self._known.get(accounts.hash_token(_token(authorization) or ""))
        return known[1] if known is not None and known[0] > time.monotonic() else None

    def principal(self, authorization: str | None) -> Principal:
        """The principal of an Authorization header. Raises Problem (unauthenticated), StoreUnavailable."""
        token = _token(authorization)
        if token is None:
            raise unauthenticated()
        principal = accounts.find_principal(self._database, token)
        if principal is None:
            raise unauthenticated("the token is unknown, revoked or expired")
        with self._lock:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[accounts.hash_token(token)] = (time.monotonic() + REMEMBER_SECONDS, principal)
        return principal


def _token(authorization: str | None) -> str | None:
    """The token of a header, or None when it holds none that could be ours."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= _MAX_TOKEN_CHARACTERS else None


def unauthenticated(detail: str = "send your token as `Authorization: Bearer hw_…`") -> Problem:
    """The refusal of whoever has no good token."""
    return Problem(ProblemCode.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})
