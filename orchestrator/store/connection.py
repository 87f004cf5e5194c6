"""Connections to the database: one pool for each process. Errors of the driver become our own."""

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
from orchestrator.store.outage import Outage

ILLEGAL_TRANSITION = "HW001"
"""SQLSTATE of our transition triggers (sql/migrations)."""
OPERATION_CHANNEL = "hostwright_operation"
"""Notified with an operation's id whenever it changes (the fragment `notify` of sql/fragments.sql)."""
TOKEN_CHANNEL = "hostwright_token"  # noqa: S105  # a channel's name
"""Notified with a token's id when it is revoked."""

_RECONNECT_SECONDS = 3.0
"""How long the pool tries to connect by itself, with growing pauses. After that whoever wants a connection makes it try
again at once. With the default of 300 s the pauses grow to minutes, and an outage grows with them."""

_KEEPALIVE = {"idle": 10, "interval": 5, "count": 2}
"""Seconds until a silent peer is asked, seconds between two questions, and how many of these may stay unanswered."""
_UNANSWERED_MILLISECONDS = 15_000
"""How long sent data may stay unacknowledged."""

_STANDSTILL_SECONDS = 5
"""How long a transaction may be open without a statement. Ours take milliseconds."""
_LOCK_SECONDS = 10
"""How long a statement waits for locked rows: longer than a process that stands still may keep them."""

_CONNECTION_ERRORS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,  # a standby that is not promoted yet
)

Connection = psycopg.Connection[TupleRow]


@contextmanager
def wrap_errors() -> Iterator[None]:
    """Turn the driver's errors into StoreUnavailable and IllegalTransition. Other errors are defects and pass."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable("no database connection came free in time") from error
    except psycopg.Error as error:
        # This comes first because psycopg takes an SQLSTATE that it does not know for an OperationalError.
        if error.sqlstate == ILLEGAL_TRANSITION:
            raise IllegalTransition(str(error).splitlines()[0]) from error
        if isinstance(error, _CONNECTION_ERRORS):
            raise StoreUnavailable(" ".join(str(error).split())) from error
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise ConfigurationError(
                f"{str(error).splitlines()[0]}: HOSTWRIGHT_DATABASE_URL must name the owner of the database"
            ) from error
        raise


_OPTIONS: dict[str, Any] = {
    "application_name": "hostwright",
    "autocommit": True,
    "client_encoding": "UTF8",  # whatever the environment or the role says
    # A host that vanished is noticed within about 15 s and not after the system's quarter of an hour.
    "connect_timeout": 5,
    **{f"keepalives_{name}": value for name, value in _KEEPALIVE.items()},
    "tcp_user_timeout": _UNANSWERED_MILLISECONDS,
}


def connect(url: str, **options: Any) -> Connection:
    """Open a connection of its own, with these options beside ours.

    Raises ConfigurationError when the database cannot be used whatever is in it, StoreUnavailable.
    """
    with wrap_errors():
        connection = psycopg.connect(url, **_OPTIONS | options)
    try:
        _require_utf8(connection)
    except ConfigurationError:
        connection.close()
        raise
    return connection


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, *, size: int = 20, timeout: float = 5) -> None:
        """Make the pool without connecting. `timeout` is how many seconds a caller waits for a connection."""
        self.url = url
        self.outage = Outage()
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
        """Start the pool, which connects in the background."""
        self._pool.open()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _refuse_closed(self, connection: Connection) -> None:
        """Refuse to hand out a connection that the server has closed, as it does when it is restarted.

        This takes no round trip: an idle connection has nothing to read but its end. When one has ended, those
        that were made at its time have ended too.
        """
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        if waiting.poll(0):
            connection.close()
            self._pool.drain()
            raise psycopg.OperationalError("the server closed the connection")

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection on which each statement is a transaction: one round trip instead of three."""
        with wrap_errors(), self._pool.connection() as connection:
            yield connection
        self.outage.over()

    @contextmanager
    def transaction(self, *, timeout: float | None = None) -> Iterator[Connection]:
        """A connection whose work is committed at the end, or rolled back when the block raises.

        `timeout` is how many seconds to wait for it, when that is not as long as usual.
        """
        with wrap_errors(), self._pool.connection(timeout) as connection, connection.transaction():
            yield connection
        self.outage.over()

    def connect(self) -> Connection:
        """Open a connection outside the pool, for the queue's threads."""
        connection = connect(self.url)
        with wrap_errors():
            _prepare(connection)
            return connection

    @contextmanager
    def listen(self, channel: str) -> Iterator[Callable[[float], list[str]]]:
        """Yields a function that waits so many seconds for the next notifications and returns their payloads.

        Both raise StoreUnavailable when the connection breaks.
        """
        with wrap_errors(), self.connect() as connection:
            connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            self.outage.over()
            yield lambda seconds: [notice.payload for notice in connection.notifies(timeout=seconds, stop_after=1)]


def _prepare(connection: Connection) -> None:
    """Set what every connection of ours has.

    Times come back in UTC, whatever the server's zone is, since JSON that a query makes carries them as text. A process
    that stands still within a transaction loses it. Otherwise it would keep its turn to claim, and its locked rows,
    which the sweep passes over. The server notices a host that vanished as soon as we do. By its own settings it would
    keep that connection for two hours, and after a few more it would take no new ones.
    """
    keepalive = "".join(f"set tcp_keepalives_{name} = {value}; " for name, value in _KEEPALIVE.items())
    connection.execute(
        f"set time zone 'UTC'; set idle_in_transaction_session_timeout = '{_STANDSTILL_SECONDS}s'; "
        f"set lock_timeout = '{_LOCK_SECONDS}s'; {keepalive}set tcp_user_timeout = {_UNANSWERED_MILLISECONDS}"
    )


def _require_utf8(connection: Connection) -> None:
    """Raise ConfigurationError for a database of another encoding.

    SQL_ASCII gives text back as bytes, and the others cannot hold all text.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database {connection.info.dbname} has the encoding {encoding} and needs UTF8, which it cannot get "
            "later: make another with `createdb --encoding=UTF8 --locale=C --template=template0 NAME`, and name that"
        )


def hide_password(url: str) -> tuple[str, dict[str, str]]:
    """Split an address for another program: arguments, which everybody may read, and the password for its environment.

    Raises ConfigurationError for an sslpassword, a secret that fits only into the address.
    """
    parameters = conninfo_to_dict(url)
    if parameters.pop("sslpassword", None) is not None:
        raise ConfigurationError("the address of the database has an sslpassword: name a key without one in sslkey")
    password = parameters.pop("password", None)
    return make_conninfo("", **parameters), {} if password is None else {"PGPASSWORD": str(password)}
