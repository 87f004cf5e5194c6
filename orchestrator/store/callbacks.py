"""One-time tokens with which an instance reports back. Only their hashes are kept; a report is a line in the log."""

import hashlib
import secrets
from typing import Literal

from orchestrator.domain.models import Lease
from orchestrator.store.connection import Database, execute
from orchestrator.store.leases import guarded

_MESSAGE_CHARACTERS = 500


def create_callback(database: Database, lease: Lease) -> str:
    """A token for an attempt, good once while the operation runs. Raises LostLease."""
    token = secrets.token_urlsafe(32)
    with database.transaction() as connection:
        guarded(connection, "insert_callback", lease, hash=_hash(token))
    return token


def use_callback(database: Database, token: str, status: Literal["provisioned", "failed"], message: str) -> bool:
    """Log what an instance says; False when the token is unknown or used, or its operation no longer runs."""
    said = f"the instance says that it is {status}" if status == "provisioned" else "the instance says that it failed"
    parameters = {
        "hash": _hash(token),
        "level": "info" if status == "provisioned" else "warning",
        "message": f"{said}: {message[:_MESSAGE_CHARACTERS]}" if message else said,
    }
    with database.transaction() as connection:
        return execute(connection, "use_callback", parameters) == 1


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
