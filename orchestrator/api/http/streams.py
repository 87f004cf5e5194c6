"""Streams of server-sent events: what waits for each client is bounded, and one timer looks after all of them.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import Protocol, TypeVar, cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orchestrator.domain.models import Principal

MEDIA_TYPE = "text/event-stream"
PING_SECONDS = 15.0
"""The time between two comments, which keep a silent stream open. nginx cuts one after 60 s without a byte."""
MAX_WAITING_BYTES = 256 * 1024
"""How much may wait for a slow client, beside what the kernel keeps. Then its stream ends, and the client resumes."""
ABORT = "hostwright.abort"
"""The ASGI extension whose `abort` ends a connection at once (orchestrator.cli.run.protocol)."""
_PING = b": ping\n\n"
_HEADERS = {
    "Content-Type": MEDIA_TYPE,
    # Whoever compresses a stream may hold back what comes.
    "Cache-Control": "no-store, no-transform",
    # For nginx and those that follow it: each event is to leave at once.
    "X-Accel-Buffering": "no",
}


def frame(event: str, data: bytes, key: int | None = None) -> bytes:
    """One event. `data` is one line of JSON, and `key` is what the client resumes after."""
    head = b"" if key is None else b"id: %d\n" % key
    return b"%bevent: %b\ndata: %b\n\n" % (head, event.encode(), data)


class Reader:
    """What waits for one client. It is used on the event loop alone."""

    def __init__(self, principal: Principal, identify: Callable[[], Awaitable[object]]) -> None:
        """Begin with nothing. `principal` reads, and `identify` raises Problem when it may not any more."""
        self.principal = principal
        self.on_overflow: Callable[[], object] = self.end
        """What is done when more waits than may."""
        self._identify = identify
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._doubted = False
        self._came = asyncio.Event()

    def put(self, text: bytes) -> None:
        """Add frames. When too much waits already, the stream ends instead."""
        if self._bytes + len(text) > MAX_WAITING_BYTES:
            self._waiting.clear()
            self.on_overflow()
        elif not self._ended:
            self._bytes += len(text)
            self._waiting.append(text)
            self._came.set()

    def end(self) -> None:
        """End the stream after what waits."""
        self._ended = True
        self._came.set()

    def doubt(self) -> None:
        """Find out whether the principal may still read, before anything more is taken."""
        self._doubted = True
        self._came.set()

    async def take(self) -> bytes | None:
        """Take what waits, as soon as there is something. None when the stream has ended. Raises as `identify`."""
        while True:
            if self._doubted:
                self._doubted = False
                await self._identify()
            elif self._waiting:
                return self._empty()
            elif self._ended:
                return None
            else:
                self._came.clear()
                await self._came.wait()

    def _empty(self) -> bytes:
        text = b"".join(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return text


class Shared(Protocol):
    """What several streams read together."""

    def start(self) -> None:
        """Begin, for the first stream."""

    def stop(self) -> None:
        """End, after the last one."""


S = TypeVar("S", bound=Shared)


class Streams:
    """The open streams of a process, and what several of them share."""

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        self._open: set[EventStream] = set()
        self._shared: dict[Hashable, tuple[Shared, list[None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look after streams, on the running event loop."""
        self._timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._look_after)

    def stop(self) -> None:
        """Stop looking after them."""
        if self._timer is not None:
            self._timer.cancel()

    def leave(self) -> None:
        """End all streams, because the process ends."""
        for stream in list(self._open):
            stream.leave()

    def count(self, principal: Principal) -> int:
        """How many streams are open with a token."""
        return sum(stream.reader.principal.token_id == principal.token_id for stream in self._open)

    @contextmanager
    def sharing(self, key: Hashable, make: Callable[[], S]) -> Iterator[S]:
        """What is shared under a key: made and started for the first stream, stopped after the last."""
        shared, users = self._shared.get(key) or (make(), [])
        if not users:
            self._shared[key] = shared, users
            shared.start()
        users.append(None)
        try:
            yield cast("S", shared)
        finally:
            users.pop()
            if not users:
                del self._shared[key]
                shared.stop()

    @contextmanager
    def looking_after(self, stream: "EventStream") -> Iterator[None]:
        """Look after a stream."""
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)

    def _look_after(self) -> None:
        self.start()
        now = datetime.now(UTC)
        for stream in list(self._open):
            stream.look_after(now)


class EventStream(Response):
    """An answer that goes on until its reader or its client ends it."""

    def __init__(self, streams: Streams, reader: Reader, frames: AsyncGenerator[bytes, None]) -> None:
        """`frames` are sent as they come, and end when the reader ends."""
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self.reader = reader
        reader.on_overflow = self.leave
        self._streams = streams
        self._frames = frames
        self._task: asyncio.Task[None] | None = None
        self._abort: Callable[[], object] | None = None
        self._is_sending = False
        self._was_sending = False
        self._is_cut = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames, and stop when the client is gone."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._frames):
            if scope["method"] != "HEAD":
                self._abort = scope.get("extensions", {}).get(ABORT, {}).get("abort")
                await self._carry(receive, send)
        if not self._is_cut:
            await send({"type": "http.response.body", "body": b""})

    def look_after(self, now: datetime) -> None:
        """Keep the stream open, unless its client takes nothing or its token has expired."""
        expires_at = self.reader.principal.expires_at
        if self._was_sending and self._is_sending:
            self._cut()
        elif expires_at is not None and expires_at <= now:
            self.reader.doubt()
        else:
            self.reader.put(_PING)
        self._was_sending = self._is_sending

    def leave(self) -> None:
        """End the stream, though its client may take nothing, because the process ends or too much waits for it."""
        self.reader.end()
        if self._is_sending:
            self._cut()

    async def _carry(self, receive: Receive, send: Send) -> None:
        self._task = asyncio.current_task()
        watching = asyncio.create_task(self._watch(receive))
        try:
            with self._streams.looking_after(self):
                async for text in self._frames:
                    self._is_sending = True
                    await send({"type": "http.response.body", "body": text, "more_body": True})
                    self._is_sending = self._was_sending = False
        except asyncio.CancelledError:
            if not self._is_cut:
                raise
        finally:
            watching.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.reader.end()

    def _cut(self) -> None:
        """Leave a client that takes nothing. Its connection is aborted, because closed it would wait for the client."""
        self._is_cut = True
        if self._abort is not None:
            self._abort()
        if self._task is not None:
            self._task.cancel()
