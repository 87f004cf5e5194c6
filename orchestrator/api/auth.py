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

    def principal(self, authorization: str | None) -> Principal:
        """The principal of an Authorization header. Raises Problem (unauthenticated)."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthenticated("send your token as `Authorization: Bearer hw_…`")
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise _unauthenticated("the token is unknown, revoked or expired")
        return self._find(token.strip())

    def _find(self, token: str) -> Principal:
        digest = accounts.hash_token(token)
        now = time.monotonic()
        with self._lock:
            known = self._known.get(digest)
        if known is not None and known[0] > now:
            return known[1]
        principal = accounts.find_principal(self._database, token)
        with self._lock:
            if principal is None:
                self._known.pop(digest, None)
            else:
                if len(self._known) >= _MAX_REMEMBERED:
                    self._known.clear()
                self._known[digest] = (now + REMEMBER_SECONDS, principal)
        if principal is None:
            raise _unauthenticated("the token is unknown, revoked or expired")
        return principal


def _unauthenticated(detail: str) -> Problem:
    return Problem(ProblemCode.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})
