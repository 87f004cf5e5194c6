"""An event loop in a thread of the test, which ends only when every socket of it is closed."""

import asyncio
import gc
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 15.0
"""Seconds that a condition may take on a busy machine."""


class LoopThread:
    """Runs coroutines in a loop of its own thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.loop = asyncio.SelectorEventLoop(self._selector)
        self._own = len(self._selector.get_map())  # by which a thread wakes the loop
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns. Raises what it raises, and TimeoutError after a minute."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def soon(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Call a function in the loop without waiting for it."""
        self.loop.call_soon_threadsafe(call, *arguments)

    def close(self) -> None:
        """End the loop. Servers and clients are closed by then, but a transport with TLS lives until its peer has gone.

        A transport that is left alone warns when it is collected, in whichever test comes then."""
        gc.collect()  # urllib3 closes the connections of a pool when the pool is collected
        deadline = time.monotonic() + PATIENCE
        while len(self._selector.get_map()) > self._own:
            assert time.monotonic() < deadline, f"sockets stay open: {list(self._selector.get_map().values())}"
            time.sleep(0.005)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
