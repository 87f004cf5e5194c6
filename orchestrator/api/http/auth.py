"""Who asks: bearer tokens, looked up by hash and remembered until they are revoked, and for a moment at most."""

import logging
import threading
import time
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
"""How long a found token is believed without asking again: the bound for when the word of its end is lost."""
GOOD_SECONDS = 3600.0
"""How long after it was looked up a token is spared what the bad ones of its address bring about."""
NOTE_SECONDS = 60.0
"""The last use of a token is written so often at most."""
_MAX_REMEMBERED = 10_000
_MAX_TOKEN_CHARACTERS = 200


@dataclass(frozen=True)
class _Known:
    until: float
    principal: Principal


class Tokens:
    """The tokens this process has seen lately. Unknown ones are never remembered."""

    def __init__(self, database: Database) -> None:
        """Begin with none."""
        self._database = database
        self._known: dict[bytes, _Known] = {}
        self._good: dict[bytes, _Known] = {}
        self._forgotten = 0
        self._lock = threading.Lock()
        self._listener = Listener(database, TOKEN_CHANNEL, self._forget)

    def start(self) -> None:
        """Begin to hear of revoked tokens."""
        self._listener.start()

    def stop(self) -> None:
        """Stop listening."""
        self._listener.stop()

    def remembered(self, authorization: str | None) -> Principal | None:
        """The principal of an Authorization header, if it was seen lately; does not block."""
        with self._lock:
            known = self._known.get(accounts.hash_token(_token(authorization) or ""))
        if known is None or known.until <= time.monotonic() or _is_over(known.principal):
            return None
        return known.principal

    def was_good(self, authorization: str | None) -> bool:
        """Whether it belonged to somebody within the last hour: then others' bad tokens do not keep it out.

        It lets nobody in: the token is looked up all the same.
        """
        with self._lock:
            good = self._good.get(accounts.hash_token(_token(authorization) or ""))
        return good is not None and good.until > time.monotonic()

    def principal(self, authorization: str | None) -> Principal:
        """The principal of an Authorization header. Raises Problem (unauthenticated), StoreUnavailable."""
        token = _token(authorization)
        if token is None:
            raise unauthenticated()
        with self._lock:
            forgotten = self._forgotten
        principal = accounts.find_principal(self._database, token)
        if principal is None:
            raise unauthenticated("the token is unknown, revoked or expired")
        with self._lock:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            # Not when one was revoked since it was asked for: it may be this one.
            if forgotten == self._forgotten:
                until = time.monotonic() + REMEMBER_SECONDS
                self._known[accounts.hash_token(token)] = _Known(until, principal)
                if len(self._good) >= _MAX_REMEMBERED:
                    self._good.clear()
                self._good[accounts.hash_token(token)] = _Known(until + GOOD_SECONDS, principal)
        return principal

    def _forget(self, token_id: str | None) -> None:
        """Believe a token no longer, or none of them after a gap."""
        with self._lock:
            self._forgotten += 1
            self._known = {
                digest: known
                for digest, known in self._known.items()
                if token_id is not None and str(known.principal.token_id) != token_id
            }
            self._good = {
                digest: known for digest, known in self._good.items() if str(known.principal.token_id) != token_id
            }


class TokenUses:
    """Writes when and from where tokens were last used: seldom, and in no request's way."""

    def __init__(self, database: Database) -> None:
        """Nothing runs until `start`."""
        self._database = database
        self._noted: dict[UUID, float] = {}
        self._waiting: dict[UUID, str | None] = {}
        self._lock = threading.Lock()
        self._used = threading.Event()
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="token-uses", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and stop."""
        self._leaving = True
        self._used.set()
        self._thread.join()

    def note(self, token_id: UUID, address: str | None) -> None:
        """A token was used just now; does not block."""
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
                log.exception("the last use of %d tokens was not written", len(waiting))  # the next ones may be


def _is_over(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at <= datetime.now(UTC)


def _token(authorization: str | None) -> str | None:
    """The token of a header, or None when it holds none that could be ours."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= _MAX_TOKEN_CHARACTERS else None


def unauthenticated(detail: str = "send your token as `Authorization: Bearer hw_…`") -> Problem:
    """The refusal of whoever has no good token."""
    return Problem(ProblemCode.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})
