"""What the log says while the database does not answer: a few lines, however many threads keep trying."""

import logging
import math
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

REPEAT_SECONDS = 60.0
"""A line says so often at most that the database does not answer."""
SETTLE_SECONDS = 5.0
"""An outage is over when no try failed for so long after one that succeeded: a server that stops or starts answers some
and refuses others."""


class Outage:
    """Counts failed tries and logs one line when an outage begins, one a minute, and one when it is over.

    Every process has one, `Database.outage`. Whoever catches StoreUnavailable and goes on calls `noticed(error)`
    instead of logging it. `over()` says that the database answered: `Database` calls it itself after whatever it
    carried out, so only those with a connection of their own need to. Both are cheap and may be called from any thread.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, settle_seconds: float = SETTLE_SECONDS) -> None:
        """Begin with a database that answers. `clock` counts seconds and never goes back."""
        self._clock = clock
        self._settle_seconds = settle_seconds
        self._lock = threading.Lock()
        self._began: float | None = None
        self._tries = 0
        self._logged_at = -math.inf
        self._settling = False

    def noticed(self, error: Exception) -> None:
        """A try failed; `error` says why."""
        with self._lock:
            now = self._clock()
            if self._began is None:
                self._began, self._tries, self._logged_at = now, 0, -math.inf
            self._tries += 1
            if now - self._logged_at < REPEAT_SECONDS:
                return
            self._logged_at = now
            reason = " ".join(str(error).split())
            if self._tries == 1:
                log.warning("the database does not answer: %s", reason)
            else:
                seconds = now - self._began
                log.warning("the database has not answered for %.0f s (%d tries): %s", seconds, self._tries, reason)

    def over(self) -> None:
        """The database answered."""
        if self._began is None:  # the usual case needs no lock
            return
        with self._lock:
            if self._began is not None and not self._settling:
                self._settling = True
                seconds = self._clock() - self._began
                timer = threading.Timer(self._settle_seconds, self._end, (self._tries, seconds))
                timer.daemon = True
                timer.start()

    def _end(self, tries: int, seconds: float) -> None:
        with self._lock:
            self._settling = False
            if self._tries == tries:  # none failed since
                self._began = None
                log.warning("the database answers again, after %.1f s", seconds)
