"""Whether this worker can work. One that cannot takes no operations, so that it does not spoil them."""

import logging
import threading
from collections.abc import Callable, Iterator

from orchestrator.domain.errors import WorkerUnfit

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2


class Fitness:
    """Is doubted when an operation met a fault of this worker, and restored when a test passes."""

    def __init__(self, test: Callable[[], None]) -> None:
        """`test` raises WorkerUnfit as long as the worker cannot work."""
        self._test = test
        self._fit = threading.Event()
        self._fit.set()

    @property
    def is_fit(self) -> bool:
        """Whether the worker may take operations."""
        return self._fit.is_set()

    def doubt(self, fault: WorkerUnfit) -> None:
        """Take no operation any more until the test passes."""
        if self._fit.is_set():
            self._fit.clear()
            log.error("this worker takes no operations until it can work again: %s", fault)

    def restore(self) -> Iterator[str]:
        """Test a doubted worker once more. Yields a line when it can work again."""
        if self.is_fit:
            return
        try:
            self._test()
        except WorkerUnfit:
            return
        self._fit.set()
        yield "this worker can work again and takes operations"

    def wait(self, leaving: threading.Event) -> None:
        """Wait until the worker is fit or leaves."""
        while not leaving.is_set() and not self._fit.wait(_LOOK_SECONDS):
            pass
