"""Streams of server-sent events: what waits is bounded, silence is broken, and who takes nothing is left."""

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.api.http import streams
from orchestrator.api.http.streams import EventStream, Reader, Streams, frame
from orchestrator.domain.models import Principal

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def principal(expires_at: datetime | None = None) -> Principal:
    return Principal(token_id=uuid4(), name="x", customer_id="acme", expires_at=expires_at)


class Refused(Exception):
    """The principal may not read any more."""


async def refuse() -> None:
    raise Refused


def reader_of(who: Principal | None = None) -> Reader:
    return Reader(who or principal(), refuse)


async def frames_of(reader: Reader) -> AsyncGenerator[bytes, None]:
    while (text := await reader.take()) is not None:
        yield text


class Client:
    """A client that takes what is sent, or stops taking it, or goes away."""

    def __init__(self, reader: Reader, shared: Streams | None = None) -> None:
        self.sent: list[MutableMapping[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.gone = asyncio.Event()
        self.aborted = 0
        self.stream = EventStream(shared or Streams(), reader, frames_of(reader))
        self.task = asyncio.create_task(self.stream(self.scope(), self.receive, self.send))

    def scope(self) -> dict[str, Any]:
        return {"type": "http", "method": "GET", "extensions": {streams.ABORT: {"abort": self.abort}}}

    def abort(self) -> None:
        self.aborted += 1

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.takes.wait()
        self.sent.append(message)

    async def receive(self) -> MutableMapping[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


def test_frames_an_event_as_the_standard_says() -> None:
    assert frame("log", b'{"a":1}', 7) == b'id: 7\nevent: log\ndata: {"a":1}\n\n'
    assert frame("end", b"{}") == b"event: end\ndata: {}\n\n"


def test_sends_what_comes_and_ends_with_its_reader() -> None:
    async def check() -> None:
        reader = reader_of()
        client = Client(reader)
        for text in (b"a", b"b"):
            reader.put(text)
        await client.settle()
        reader.put(b"c")
        reader.end()
        reader.put(b"too late")
        await client.task
        assert client.body == b"abc"
        assert client.sent[-1] == {"type": "http.response.body", "body": b""}

    asyncio.run(check())


def test_ends_when_its_client_is_gone() -> None:
    async def check() -> None:
        client = Client(reader_of())
        await client.settle()
        client.gone.set()
        await asyncio.wait_for(client.task, 5)

    asyncio.run(check())


def test_breaks_silence_and_doubts_a_token_that_has_expired() -> None:
    async def check() -> None:
        lasting, expired = reader_of(), reader_of(principal(NOW - timedelta(seconds=1)))
        client, other = Client(lasting), Client(expired)
        await client.settle()
        client.stream.look_after(NOW)
        other.stream.look_after(NOW)
        await client.settle()
        assert client.body == b": ping\n\n"
        client.task.cancel()
        with pytest.raises(Refused):
            await other.task

    asyncio.run(check())


def test_leaves_a_client_that_takes_nothing_from_one_look_to_the_next() -> None:
    async def check() -> None:
        reader = reader_of()
        client = Client(reader)
        await client.settle()
        client.takes.clear()
        reader.put(b"a")
        await client.settle()
        client.stream.look_after(NOW)
        assert client.aborted == 0
        client.stream.look_after(NOW)
        assert client.aborted == 1
        await asyncio.wait_for(client.task, 5)

    asyncio.run(check())


def test_leaves_a_client_for_whom_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_WAITING_BYTES", 10)

    async def check() -> None:
        reader = reader_of()
        client = Client(reader)
        await client.settle()
        client.takes.clear()
        reader.put(b"sent")
        await client.settle()
        reader.put(b"0123456789")
        assert client.aborted == 0
        reader.put(b"0")
        assert client.aborted == 1
        await asyncio.wait_for(client.task, 5)
        assert client.body == b""

    asyncio.run(check())


def test_shares_until_the_last_one_leaves() -> None:
    class Thing:
        def __init__(self) -> None:
            self.did: list[str] = []

        def start(self) -> None:
            self.did.append("start")

        def stop(self) -> None:
            self.did.append("stop")

    shared = Streams()
    with shared.sharing("a", Thing) as first:
        with shared.sharing("a", Thing) as second, shared.sharing("b", Thing) as other:
            assert second is first
            assert other is not first
        assert first.did == ["start"]
    assert first.did == ["start", "stop"]
    with shared.sharing("a", Thing) as later:
        assert later is not first


def test_counts_the_streams_of_a_token() -> None:
    async def check() -> None:
        shared, reader = Streams(), reader_of()
        clients = [Client(each, shared) for each in (reader, reader_of(reader.principal), reader_of())]
        await clients[0].settle()
        assert shared.count(reader.principal) == 2
        shared.leave()
        await asyncio.gather(*(client.task for client in clients))
        assert shared.count(reader.principal) == 0

    asyncio.run(check())
