"""The baseline of streams: a Starlette app that sends what it is given to every open stream of a group, and no more."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

_groups: dict[str, set[asyncio.Queue[bytes]]] = defaultdict(set)


async def _follow(group: str) -> AsyncIterator[bytes]:
    queue: asyncio.Queue[bytes] = asyncio.Queue(64)
    _groups[group].add(queue)
    yield b": begin\n\n"
    try:
        while True:
            yield await queue.get()
    finally:
        _groups[group].discard(queue)


async def stream(request: Request) -> Response:
    """Follow a group."""
    return StreamingResponse(_follow(request.path_params["group"]), media_type="text/event-stream")


async def say(request: Request) -> Response:
    """Send the body to all who follow a group."""
    text = await request.body()
    for queue in _groups[request.path_params["group"]]:
        queue.put_nowait(text)
    return Response(status_code=204)


app = Starlette(routes=[Route("/stream/{group}", stream), Route("/say/{group}", say, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), access_log=False, log_level="warning",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
