"""What a duty is: something done again and again, with its own interval, counts and last outcome."""

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
    """One duty. `perform` does it once and returns a line for each thing it did; it may raise whatever it meets."""

    name: str
    interval_seconds: float
    perform: Callable[[], Iterable[str]]
    done: int = 0
    """How often it was performed to its end."""
    failed: int = 0
    """How often it ended in an error."""
    last_error: str | None = None
    """What the last one ended in; None when all was well."""
    due_at: float = field(default_factory=time.monotonic)
    """When it is to be performed next, on time.monotonic()."""

    def perform_once(self, outage: Outage) -> None:
        """Perform it, and log what it did. Whatever it ends in, the next one may succeed."""
        self.due_at = time.monotonic() + self.interval_seconds
        try:
            for line in self.perform():
                log.warning("%s: %s", self.name, line)
        except StoreUnavailable as error:
            self.failed, self.last_error = self.failed + 1, str(error)
            outage.noticed(error)
        except Exception as error:
            self.failed, self.last_error = self.failed + 1, repr(error)
            log.exception("%s", self.name)
        else:
            self.done, self.last_error = self.done + 1, None


def perform_until(leaving: threading.Event, duties: list[Duty], outage: Outage) -> None:
    """Perform each duty when it is due, until the event is set."""
    while not leaving.is_set():
        for duty in duties:
            if not leaving.is_set() and time.monotonic() >= duty.due_at:
                duty.perform_once(outage)
        leaving.wait(max(0.0, min(duty.due_at for duty in duties) - time.monotonic()))
