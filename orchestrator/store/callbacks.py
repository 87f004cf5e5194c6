"""One-time tokens with which an instance reports back. Only their hashes are kept. A report is a line in the log."""

import hashlib
import secrets
from typing import Literal

from orchestrator.domain.models import Lease
from orchestrator.store.connection import Database
from orchestrator.store.queries import execute_held, write_rows

_MESSAGE_CHARACTERS = 500


def create_callback(database: Database, lease: Lease) -> str:
    """Make a token for an attempt, which can be used once while the operation runs. Raises LostLease."""
    token = secrets.token_urlsafe(32)
    with database.connection() as connection:
        execute_held(connection, "insert_callback", lease, hash=_hash(token))
    return token


def use_callback(database: Database, token: str, status: Literal["provisioned", "failed"], message: str) -> bool:
    """Log what an instance says. False when the token is unknown or used, or its operation has ended."""
    said = f"the instance says that it is {status}" if status == "provisioned" else "the instance says that it failed"
    level = "info" if status == "provisioned" else "warning"
    line = f"{said}: {message[:_MESSAGE_CHARACTERS]}" if message else said
    return write_rows(database, "use_callback", hash=_hash(token), level=level, message=line) == 1


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
