"""Whether this process can serve: the database answers, the schema is this release's, and a worker can work."""

import asyncio
import logging
from concurrent.futures import Executor

from orchestrator.domain.errors import ConfigurationError, StoreUnavailable
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from orchestrator.store.migrations import is_current

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 1.0
"""How long a check waits for the database: shorter than probes wait for us."""


class Readiness:
    """Checks when somebody asks. Whoever asks during a check gets its answer, too.

    Anybody may ask, and a check takes a thread for as long as the database is silent. Without sharing, a stranger could
    take all of them.
    """

    def __init__(self, database: Database, threads: Executor) -> None:
        """Begin without a check."""
        self._database = database
        self._threads = threads
        self._checking: asyncio.Future[dict[str, bool]] | None = None

    async def check(self) -> dict[str, bool]:
        """What is there and what is not, by name."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.get_running_loop().run_in_executor(self._threads, _check, self._database)
        return await asyncio.shield(self._checking)


def _check(database: Database) -> dict[str, bool]:
    checks = {"database": False, "migrations": False, "worker": False}
    try:
        with database.transaction(timeout=_PATIENCE_SECONDS) as connection:
            checks["database"] = True
            checks["migrations"] = is_current(connection)
        if checks["migrations"]:
            checks["worker"] = sweep.live_workers(database) > 0
    except StoreUnavailable as error:
        database.outage.noticed(error)
    except ConfigurationError as error:
        log.warning("not ready: %s", error)
    return checks
