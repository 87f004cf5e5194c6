"""uvicorn's HTTP protocol, with limits for the size of a request's head and for the time it may take."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator.api.http.streams import ABORT

MAX_HEAD_BYTES = 32 * 1024
"""It is more than the application takes, which answers with the reason (orchestrator.api.http.headers)."""
HEAD_SECONDS = 15.0
"""How long a connection may wait before its first head, and how long a head may take."""
_REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):  # type: ignore[misc, unused-ignore]
    """Bounds what uvicorn's own protocol does not: heads and trailers, which it keeps in memory, and silent clients."""

    _unfinished = 0
    _in_head = True
    _moved = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override, unused-ignore]
        """A client has connected."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._cancel_deadline()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head has begun."""
        self._in_head = self._moved = True
        self._expect_head()
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. One that comes after the body is a trailer, which nobody reads."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._in_head = False
        self._cancel_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body has come. The application bounds the body."""
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has ended."""
        self._moved = True
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Take what came. A head, trailers or a chunk extension that do not end close the connection."""
        self._moved = False
        super().data_received(data)
        self._unfinished = 0 if self._moved else self._unfinished + len(data)
        if self._unfinished > MAX_HEAD_BYTES and not self.transport.is_closing():
            if self._in_head:
                self.transport.write(_REFUSAL)
            self.transport.close()

    def _expect_head(self) -> None:
        self._cancel_deadline()
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
