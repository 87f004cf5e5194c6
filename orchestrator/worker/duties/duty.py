"""A duty, which a worker performs again and again, with its interval and its last error."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store.outage import Outage

log = logging.getLogger(__name__)


@dataclass
class Duty:
    """One duty. `perform` performs it once, and returns a line for each thing that it did. It may raise any error."""

    name: str
    interval_seconds: float
    perform: Callable[[], Iterable[str]]
    last_error: str | None = None
    """The error of the last time, or None when it was performed to its end. An outage of the database is none."""
    due_at: float = field(default_factory=time.monotonic)
    """The time of time.monotonic() at which it is due next."""

    def perform_once(self, outage: Outage) -> None:
        """Perform the duty and log what it did. An error is logged, because the next time may succeed.

        The log says once that it fails, again when it fails for another reason, and once when it is well again.
        """
        self.due_at = time.monotonic() + self.interval_seconds
        try:
            for line in self.perform():
                log.warning("%s: %s", self.name, line)
        except StoreUnavailable as error:
            outage.noticed(error)
        except Exception as error:
            if repr(error) != self.last_error:
                log.exception("%s: it fails, and is tried again every %g s", self.name, self.interval_seconds)
            self.last_error = repr(error)
        else:
            if self.last_error is not None:
                log.warning("%s: it is well again", self.name)
            self.last_error = None


def perform_until(leaving: threading.Event, duties: list[Duty], outage: Outage) -> None:
    """Perform each duty when it is due, until the event is set."""
    while not leaving.is_set():
        for duty in duties:
            if not leaving.is_set() and time.monotonic() >= duty.due_at:
                duty.perform_once(outage)
        leaving.wait(max(0.0, min(duty.due_at for duty in duties) - time.monotonic()))
