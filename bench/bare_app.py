"""The baseline: a Starlette app with one insert and one select, on the same driver, in Starlette's threads."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import anyio.to_thread
import uvicorn
from psycopg_pool import ConnectionPool
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

POOL_SIZE = 8
"""As many database connections as the API has, by the default of pool_size."""

pool = ConnectionPool(os.environ["BENCH_DATABASE_URL"], min_size=1, max_size=POOL_SIZE, open=False)


def _insert(body: bytes) -> UUID:
    order = json.loads(body)
    order_id = uuid4()
    with pool.connection() as connection:
        connection.execute("insert into bare (id, body) values (%s, %s)", (order_id, json.dumps(order)))
    return order_id


def _select(order_id: str) -> dict[str, object]:
    with pool.connection() as connection:
        row = connection.execute("select id, body, created_at from bare where id = %s", (order_id,)).fetchone()
    assert row is not None
    return {"id": str(row[0]), "body": row[1], "createdAt": row[2].isoformat()}


async def post(request: Request) -> Response:
    """Insert a row."""
    body = await request.body()
    return JSONResponse({"id": str(await run_in_threadpool(_insert, body))}, 202)


async def get(request: Request) -> Response:
    """Select a row."""
    return JSONResponse(await run_in_threadpool(_select, request.path_params["order_id"]))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Keep the pool open while the app runs."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = POOL_SIZE
    pool.open()
    with pool.connection() as connection:
        connection.execute(
            "create table if not exists bare (id uuid primary key, body jsonb not null,"
            " created_at timestamptz not null default now())"
        )
    yield
    pool.close()


app = Starlette(routes=[Route("/bare", post, methods=["POST"]), Route("/bare/{order_id}", get)], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), access_log=False, log_level="warning")
