"""Bearer tokens: they are looked up by hash, and remembered for a few seconds unless they are revoked."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from orchestrator.api.http.listening import Listener
from orchestrator.domain.errors import Problem, ProblemCode, StoreUnavailable
from orchestrator.domain.models import Principal
from orchestrator.store import accounts
from orchestrator.store.connection import TOKEN_CHANNEL, Database

log = logging.getLogger(__name__)

REMEMBER_SECONDS = 5.0
"""How long a token is believed without another look-up, should the notice that it was revoked be lost."""
NOTE_SECONDS = 60.0
"""The shortest time between two notes of a token's last use."""
_MAX_REMEMBERED = 10_000
_MAX_TOKEN_CHARACTERS = 200


@dataclass(frozen=True)
class _Known:
    until: float
    principal: Principal


class Tokens:
    """The tokens that this process has seen lately. Unknown tokens are never remembered."""

    def __init__(self, database: Database, on_revoked: Callable[[str | None], object]) -> None:
        """Begin with no token.

        `on_revoked` is called in a thread with the id of a revoked token, or with None when it may be any.
        """
        self._database = database
        self._on_revoked = on_revoked
        self._known: dict[bytes, _Known] = {}
        self._forgotten = 0
        self._lock = threading.Lock()
        self._listener = Listener(database, TOKEN_CHANNEL, self._forget)

    def start(self) -> None:
        """Begin to listen for revoked tokens."""
        self._listener.start()

    def stop(self) -> None:
        """Stop listening."""
        self._listener.stop()

    def recall(self, authorization: str | None) -> Principal | None:
        """The principal of an Authorization header that was seen lately, or None. Does not block."""
        with self._lock:
            known = self._known.get(accounts.hash_token(read_token(authorization) or ""))
        if known is None or known.until <= time.monotonic() or _has_expired(known.principal):
            return None
        return known.principal

    def look_up(self, token: str) -> Principal:
        """Look up the principal of a token. Raises Problem (unauthenticated), StoreUnavailable."""
        with self._lock:
            forgotten = self._forgotten
        principal = accounts.find_principal(self._database, token)
        if principal is None:
            raise unauthenticated("the token is unknown, revoked or expired")
        with self._lock:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            # If any token was revoked since the look-up began, it may be this one.
            if forgotten == self._forgotten:
                until = time.monotonic() + REMEMBER_SECONDS
                self._known[accounts.hash_token(token)] = _Known(until, principal)
        return principal

    def _forget(self, token_id: str | None) -> None:
        """Forget a token, or all of them when notices may have been missed."""
        with self._lock:
            self._forgotten += 1
            self._known = {
                digest: known
                for digest, known in self._known.items()
                if token_id is not None and str(known.principal.token_id) != token_id
            }
        self._on_revoked(token_id)


class TokenUses:
    """Writes when and from which address tokens were last used, seldom and without delaying requests."""

    def __init__(self, database: Database) -> None:
        """Nothing runs before `start`."""
        self._database = database
        self._noted: dict[UUID, float] = {}
        self._waiting: dict[UUID, str | None] = {}
        self._lock = threading.Lock()
        self._used = threading.Event()
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="token-uses", daemon=True)

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and stop the thread."""
        self._leaving = True
        self._used.set()
        self._thread.join()

    def note(self, token_id: UUID, address: str | None) -> None:
        """Remember that a token was used just now. Does not block."""
        now = time.monotonic()
        if self._noted.get(token_id, 0) > now:
            return
        with self._lock:
            if len(self._noted) >= _MAX_REMEMBERED:
                self._noted.clear()
            self._noted[token_id] = now + NOTE_SECONDS
            self._waiting[token_id] = address
        self._used.set()

    def _run(self) -> None:
        while not self._leaving:
            self._used.wait()
            self._used.clear()
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            try:
                if waiting:
                    accounts.note_token_uses(self._database, waiting, at_most_every=NOTE_SECONDS)
            except StoreUnavailable as error:
                self._database.outage.noticed(error)
            except Exception:
                log.exception("the last use of %d tokens was not written", len(waiting))


def _has_expired(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at <= datetime.now(UTC)


def read_token(authorization: str | None) -> str | None:
    """The token in a header, or None when there is none that could be ours."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= _MAX_TOKEN_CHARACTERS else None


def unauthenticated(detail: str = "send your token as `Authorization: Bearer hw_…`") -> Problem:
    """The refusal of a request without a valid token."""
    return Problem(ProblemCode.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})
