"""A small HTTP/1.1 load generator: keep-alive connections, one request at a time on each."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """How many requests a second were answered, and how many were answered otherwise than expected."""

    per_second: float
    wrong: int


async def _one_connection(
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
    """Send what `make` gives for so many seconds; `expect` is the status every answer should have."""

    async def go() -> Load:
        start = time.monotonic()
        done = await asyncio.gather(
            *(_one_connection("127.0.0.1", port, make, expect, start + seconds) for _ in range(connections))
        )
        elapsed = time.monotonic() - start
        return Load(sum(right for right, _ in done) / elapsed, sum(wrong for _, wrong in done))

    return asyncio.run(go())


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The bytes of one request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
