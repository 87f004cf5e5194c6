"""The stream of an operation: its state and its log, read once for all who watch it in this process."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from orchestrator.api.http.call import Call
from orchestrator.api.http.streams import Reader, frame
from orchestrator.api.operations.answers import EndAnswer, EventAnswer, entity_tag, operation_answer
from orchestrator.domain.errors import Problem, StoreUnavailable
from orchestrator.domain.models import EventRow, OperationRow
from orchestrator.domain.states import OPERATION_FINAL, OperationStatus
from orchestrator.store import reads
from orchestrator.store.connection import Database

log = logging.getLogger(__name__)

RETRY_MILLISECONDS = 1000
"""After how long a browser whose stream ended comes back by itself."""
_RECHECK_SECONDS = 15.0
"""The longest time between two looks, should a notification be lost."""
_QUEUED_SECONDS = 3.0
"""The same for an operation in the queue, of whose place there no notification tells."""
_AWAY_SECONDS = 1.0
"""The time between two tries while the database is away."""
_TRIES = 4
_PAGE = 500


@dataclass(frozen=True)
class Position:
    """How far somebody has been told: the last line of the log, and the entity tag of the state."""

    seq: int
    tag: str | None


@dataclass(frozen=True)
class View:
    """For whom an operation is shown, and the prefix of the links."""

    is_operator: bool
    prefix: str


@dataclass(frozen=True)
class News:
    """What was read of an operation: lines after some position, and then its row, which explains their errors."""

    lines: tuple[EventRow, ...]
    row: OperationRow

    @property
    def is_over(self) -> bool:
        """Whether nothing will follow."""
        return self.row.status in OPERATION_FINAL and self.is_whole

    @property
    def is_whole(self) -> bool:
        """Whether there was no further line."""
        return len(self.lines) < _PAGE

    def move(self, position: Position) -> Position:
        """How far somebody has been told who knows it."""
        return Position(self.lines[-1].seq if self.lines else position.seq, entity_tag(self.row))

    def show(self, position: Position, view: View, *, ends: bool = True) -> bytes:
        """The frames for somebody who has been told this far: lines, then the state if it is another, then the end."""
        row = self.row if view.is_operator else self.row.for_customer()
        frames = []
        for line in self.lines:
            if line.seq > position.seq:
                told = line if view.is_operator else line.for_customer(self.row.error)
                frames.append(frame("log", EventAnswer.of(told).json_bytes(), line.seq))
        if entity_tag(self.row) != position.tag:
            frames.append(frame("operation", operation_answer(row, view.prefix).json_bytes()))
        if ends and self.is_over:
            frames.append(frame("end", EndAnswer(status=row.status).json_bytes()))
        return b"".join(frames)


class Feed:
    """Reads an operation when it changes, and tells its readers. They have been told as far as it has, or further."""

    def __init__(self, call: Call, row: OperationRow) -> None:
        """Nothing runs before `start`. `row` is how the operation stood for the first reader."""
        self._parts = call.parts
        self._id = row.id
        self._status = row.status
        self._readers: dict[Reader, tuple[Position, View]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.position = Position(row.last_seq, entity_tag(row))
        self.is_over = False

    def start(self) -> None:
        """Begin to read."""
        self._changed.set()  # it may have changed since the row was read
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()

    @contextmanager
    def telling(self, reader: Reader, position: Position, view: View) -> Iterator[None]:
        """Tell somebody what comes after a position, which is not before the feed's own."""
        self._readers[reader] = position, view
        if position != self.position:
            self._changed.set()
        try:
            yield
        finally:
            del self._readers[reader]

    async def _run(self) -> None:
        try:
            with self._parts.changes.calling(self._changed.set, self._id):
                while not self.is_over:
                    await self._look()
        except Exception:
            log.exception("operation %s is not told any more", self._id)
        finally:
            self.is_over = True
            for reader in self._readers:
                reader.end()

    async def _look(self) -> None:
        seconds = _QUEUED_SECONDS if self._status is OperationStatus.QUEUED else _RECHECK_SECONDS
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        self._changed.clear()
        loop = asyncio.get_running_loop()
        try:
            news = await loop.run_in_executor(self._parts.threads, self._read)
        except StoreUnavailable as error:
            self._parts.database.outage.noticed(error)
            self._changed.set()
            await asyncio.sleep(_AWAY_SECONDS)
            return
        self._tell(news)

    def _read(self) -> News | None:
        return read_news(self._parts.database, self._id, self.position.seq)

    def _tell(self, news: News | None) -> None:
        if news is None:
            self.is_over = True
            return
        self.position = news.move(self.position)
        self._status = news.row.status
        self.is_over = news.is_over
        if not news.is_whole:
            self._changed.set()
        shown: dict[tuple[Position, View], bytes] = {}
        for reader, told in self._readers.items():
            if told[0].seq > self.position.seq:
                continue  # its own look was later than this one
            if told not in shown:
                shown[told] = news.show(*told)
            if shown[told]:
                reader.put(shown[told])
            self._readers[reader] = self.position, told[1]


async def follow(call: Call, reader: Reader, row: OperationRow, after: int) -> AsyncGenerator[bytes, None]:
    """Give the frames of a stream: the state first, then the log after a line, and then what changes, up to the end.

    It ends before that when the reader does, or when the caller's token was revoked.
    """
    view = View(call.principal.is_operator, call.prefix)
    token_id = call.principal.token_id
    with call.parts.changes.calling(reader.doubt, token_id), suppress(Problem), _noticing(call):
        position = Position(after, None)
        yield b"retry: %d\n" % RETRY_MILLISECONDS + News((), row).show(position, view, ends=False)
        position = Position(after, entity_tag(row))
        with call.parts.streams.sharing(row.id, lambda: Feed(call, row)) as feed:
            while True:
                news = await call.in_thread(read_news, call.parts.database, row.id, position.seq)
                if news is None:
                    return
                if missed := news.show(position, view):
                    yield missed
                position = news.move(position)
                if news.is_over or (news.is_whole and feed.is_over):
                    return  # in the second case it is over since this look, and the client resumes
                if news.is_whole and position.seq >= feed.position.seq:
                    break
            with feed.telling(reader, position, view):
                while (text := await reader.take()) is not None:
                    yield text


@contextmanager
def _noticing(call: Call) -> Iterator[None]:
    """End what a stream does when the database is away, and say so in the log. The client resumes."""
    try:
        yield
    except StoreUnavailable as error:
        call.parts.database.outage.noticed(error)


async def confirm(call: Call) -> None:
    """Find out whether the caller's token still holds. Raises Problem, StoreUnavailable when that cannot be found out.

    It is doubted when the database is back, and then the first tries may meet connections that were closed.
    """
    for _ in range(_TRIES):
        with suppress(StoreUnavailable):
            await call.identify()
            return
        await asyncio.sleep(_AWAY_SECONDS)
    await call.identify()


def read_news(database: Database, operation_id: UUID, after: int) -> News | None:
    """Read an operation and its log after a line. None when there is no such operation."""
    lines = reads.list_events(database, operation_id, after=after, limit=_PAGE)
    row = reads.get_operation(database, operation_id, None)
    return None if row is None else News(tuple(lines), row)
