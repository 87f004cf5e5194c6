"""Listening to a channel of the database, with one LISTEN connection and one thread."""

import threading
from collections.abc import Callable

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store.connection import Database

_POLL_SECONDS = 0.5


class Listener:
    """Calls `heard` with the payload of each notification, and with None when some may have been missed."""

    def __init__(self, database: Database, channel: str, heard: Callable[[str | None], object]) -> None:
        """Nothing runs before `start`. `heard` is called in a thread of its own."""
        self._database = database
        self._channel = channel
        self._heard = heard
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name=channel, daemon=True)

    def start(self) -> None:
        """Start the thread that listens."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._leaving.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._leaving.is_set():
            try:
                with self._database.listen(self._channel) as changes:
                    self._heard(None)
                    while not self._leaving.is_set():
                        for payload in changes(_POLL_SECONDS):
                            self._heard(payload)
            except StoreUnavailable as error:
                self._database.outage.noticed(error)
                self._leaving.wait(_POLL_SECONDS)
