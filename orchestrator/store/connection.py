"""Connections: one pool a process, errors of the driver turned into our own."""

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from orchestrator.domain.errors import ConfigurationError, IllegalTransition, StoreUnavailable

ILLEGAL_TRANSITION = "HW001"
"""SQLSTATE of our transition triggers (sql/migrations)."""
OPERATION_CHANNEL = "hostwright_operation"
"""Notified with an operation's id whenever one changes (sql/queries)."""
TOKEN_CHANNEL = "hostwright_token"  # noqa: S105  # a channel's name
"""Notified with a token's id when it is revoked."""

_RECONNECT_SECONDS = 3.0
"""How long the pool tries to connect by itself, with growing pauses; after that whoever wants a connection makes it try
again at once. With its default, 300 s, the pauses grow to minutes, and an outage with them."""

_KEEPALIVE = {"idle": 10, "interval": 5, "count": 2}
"""Seconds until a silent peer is asked, between two such questions, and how many may stay unanswered."""
_UNANSWERED_MILLISECONDS = 15_000
"""How long what was sent may stay unacknowledged."""

_STANDSTILL_SECONDS = 5
"""How long a transaction may be open without a statement; ours take milliseconds."""
_LOCK_SECONDS = 10
"""How long a statement waits for somebody else's rows: longer than whoever stands still may keep them."""

_CONNECTION_ERRORS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,  # a standby that is not promoted yet
)

Connection = psycopg.Connection[TupleRow]


@contextmanager
def wrap_errors() -> Iterator[None]:
    """Turn the driver's errors into StoreUnavailable and IllegalTransition; others are defects and pass."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable("no database connection came free in time") from error
    except psycopg.Error as error:
        # First: psycopg takes an SQLSTATE it does not know for an OperationalError.
        if error.sqlstate == ILLEGAL_TRANSITION:
            raise IllegalTransition(str(error).splitlines()[0]) from error
        if isinstance(error, _CONNECTION_ERRORS):
            raise StoreUnavailable(str(error).strip()) from error
        raise


_OPTIONS: dict[str, Any] = {
    "application_name": "hostwright",
    "autocommit": True,
    # A host that vanished without a word is noticed within 15 s or so, not after the system's quarter of an hour.
    "connect_timeout": 5,
    **{f"keepalives_{name}": value for name, value in _KEEPALIVE.items()},
    "tcp_user_timeout": _UNANSWERED_MILLISECONDS,
}


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, *, size: int = 20, timeout: float = 5) -> None:
        """Make the pool without connecting; `timeout` is how long a caller waits for a connection, in seconds."""
        self.url = url
        self._pool = ConnectionPool(
            url,
            min_size=1,
            max_size=size,
            timeout=timeout,
            open=False,
            reconnect_timeout=_RECONNECT_SECONDS,
            check=self._refuse_closed,
            configure=_prepare,
            kwargs=_OPTIONS,
        )

    def open(self) -> None:
        """Start the pool; it connects in the background."""
        self._pool.open()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _refuse_closed(self, connection: Connection) -> None:
        """Do not hand out what the server closed meanwhile, as it does when it is restarted; costs no round trip.

        An idle connection has nothing to read but its end, and where one has ended the others of its time have too.
        """
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        if waiting.poll(0):
            connection.close()
            self._pool.drain()
            raise psycopg.OperationalError("the server closed the connection")

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection whose every statement stands for itself: one round trip where a transaction takes three."""
        with wrap_errors(), self._pool.connection() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed at the end, or rolled back when it raises."""
        with wrap_errors(), self._pool.connection() as connection, connection.transaction():
            yield connection

    def connect(self) -> Connection:
        """A connection of its own, outside the pool: for the queue's threads."""
        with wrap_errors():
            connection = psycopg.connect(self.url, **_OPTIONS)
            _prepare(connection)
            return connection

    @contextmanager
    def listen(self, channel: str) -> Iterator[Callable[[float], list[str]]]:
        """Gives a function that waits so many seconds for the next notifications; returns their payloads.

        Both raise StoreUnavailable when the connection breaks.
        """
        with wrap_errors(), self.connect() as connection:
            connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            yield lambda seconds: [notice.payload for notice in connection.notifies(timeout=seconds, stop_after=1)]


def _prepare(connection: Connection) -> None:
    """Times come back in UTC, whatever the server's zone is; JSON made in a query carries them as text.

    A process that stands still within a transaction loses it: its rows, which the sweep passes over while they are
    locked, and its turn to claim must not be held for as long as it stands still. The server too notices a host that
    vanished: by its own settings it keeps that connection for two hours, and after a few more it takes no new ones.
    """
    keepalive = "".join(f"set tcp_keepalives_{name} = {value}; " for name, value in _KEEPALIVE.items())
    connection.execute(
        f"set time zone 'UTC'; set idle_in_transaction_session_timeout = '{_STANDSTILL_SECONDS}s'; "
        f"set lock_timeout = '{_LOCK_SECONDS}s'; {keepalive}set tcp_user_timeout = {_UNANSWERED_MILLISECONDS}"
    )


def hide_password(url: str) -> tuple[str, dict[str, str]]:
    """The address for another program's arguments, which everybody may read, and the password for its environment.

    Raises ConfigurationError for the one secret that only fits into the address.
    """
    parameters = conninfo_to_dict(url)
    if parameters.pop("sslpassword", None) is not None:
        raise ConfigurationError("the address of the database has an sslpassword: name a key without one in sslkey")
    password = parameters.pop("password", None)
    return make_conninfo("", **parameters), {} if password is None else {"PGPASSWORD": str(password)}
