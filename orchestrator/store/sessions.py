"""Whether a connection is a session of its own, or a pooler between us and PostgreSQL lends it to others."""

import psycopg

from orchestrator.domain.errors import ConfigurationError
from orchestrator.store.connection import Connection, connect, wrap_errors

_ROUNDS = 3
"""How often two connections are compared. A pooler with many servers may give them different ones now and then."""


def require_own_session(url: str, connection: Connection) -> None:
    """Raise ConfigurationError when a pooler shares sessions by transaction or statement.

    Hostwright keeps time-outs, prepared statements, locks and LISTEN in its sessions. Behind such a pooler they would
    be in other sessions than those that need them. A pooler that gives each client a session for itself does no harm.
    """
    with wrap_errors():
        # A pooler answers with a number of its own when a client connects.
        if _read_pid(connection) != connection.info.backend_pid and _is_shared(url, connection):
            raise ConfigurationError(
                "HOSTWRIGHT_DATABASE_URL leads to a pooler that shares sessions, such as pgbouncer in transaction "
                "mode: name PostgreSQL itself, or a pool with pool_mode = session"
            )


def _is_shared(url: str, connection: Connection) -> bool:
    """Whether another client gets the process that serves this connection, which is idle but not closed."""
    with connect(url) as other:
        for _ in range(_ROUNDS):
            mine = _read_pid(connection)
            try:
                with other.transaction():
                    if _read_pid(other) == mine or _read_pid(connection) != mine:
                        return True
            except psycopg.errors.ProtocolViolation:  # pgbouncer in statement mode refuses transactions
                return True
    return False


def _read_pid(connection: Connection) -> int:
    """The process of PostgreSQL that serves a connection now."""
    return int(connection.execute("select pg_backend_pid()").fetchall()[0][0])
