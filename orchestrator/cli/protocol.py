"""The HTTP server's protocol, with a limit to what it keeps of a request before the request is there."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32 * 1024
"""More than the application takes (orchestrator.api.headers), which answers with the reason."""
_REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):  # type: ignore[misc, unused-ignore]
    """uvicorn's own bounds no head: one that never ends would grow in memory."""

    _unfinished = 0
    _in_head = True

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._unfinished = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It is there."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless a head grows too large."""
        super().data_received(data)
        self._unfinished += len(data)
        if self._in_head and self._unfinished > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()
