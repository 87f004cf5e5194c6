"""A small HTTP/1.1 load generator. Its connections are kept alive, and each carries one request at a time."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """How many requests a second got the expected answer, and how many got another one in all."""

    per_second: float
    wrong: int


async def _drive_connection(
    host: str, port: int, make: Callable[[], bytes], expect: bytes, until: float
) -> tuple[int, int]:
    reader, writer = await asyncio.open_connection(host, port)
    right = wrong = 0
    while time.monotonic() < until:
        writer.write(make())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        if head.startswith(b"HTTP/1.1 " + expect):
            right += 1
        else:
            wrong += 1
    writer.close()
    return right, wrong


def run(port: int, make: Callable[[], bytes], *, expect: bytes, seconds: float, connections: int = 32) -> Load:
    """Send the requests that `make` returns, for `seconds`. `expect` is the status that every answer should have."""

    async def go() -> Load:
        start = time.monotonic()
        done = await asyncio.gather(
            *(_drive_connection("127.0.0.1", port, make, expect, start + seconds) for _ in range(connections))
        )
        elapsed = time.monotonic() - start
        return Load(sum(right for right, _ in done) / elapsed, sum(wrong for _, wrong in done))

    return asyncio.run(go())


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of one request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
