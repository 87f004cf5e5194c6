"""The baseline: a Starlette app that writes the rows of an order in one statement, and selects one row, unchecked.

It runs on the same driver, in Starlette's threads, and is sent the same requests.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import anyio.to_thread
import uvicorn
from psycopg import Connection
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

POOL_SIZE = 8
"""As many database connections as the API has, by the default of pool_size."""

WRITE = """
with c as (
    update customer set revision = revision + 1 where id = %(customer_id)s
), i as (
    insert into instance (id, customer_id, ctype, spec, memory_mib, cpu_cores)
    values (%(instance_id)s, %(customer_id)s, %(ctype)s, %(spec)s, 2048, 2)
), o as (
    insert into operation (id, instance_id, customer_id, kind, ctype, spec, request_id, request_hash)
    values (%(operation_id)s, %(instance_id)s, %(customer_id)s, 'provision', %(ctype)s, %(spec)s, %(request_id)s,
            %(hash)s)
), k as (
    insert into idempotency_key (customer_id, key, request_hash, operation_id)
    values (%(customer_id)s, %(key)s, %(hash)s, %(operation_id)s)
), line as (
    insert into audit (principal, method, route, target, status, operation_id)
    values ('bench', 'POST', '/api/instances', %(instance_id)s::text, 202, %(operation_id)s)
)
insert into huey_task (queue, data) values ('bare', %(message)s)
"""
"""Writes the rows that an order writes. The triggers of the tables add theirs."""


def write_order(connection: Connection[Any], body: bytes, key: str) -> UUID:
    """Write what an order writes. Returns the id of its operation."""
    order = json.loads(body)
    operation_id = uuid4()
    parameters = {
        "operation_id": operation_id,
        "instance_id": uuid4(),
        "request_id": uuid4(),
        "customer_id": order["customerId"],
        "ctype": order["ctype"],
        "spec": Jsonb(order),
        "key": key,
        "hash": bytes(32),
        "message": json.dumps([str(operation_id)]).encode(),
    }
    connection.execute(WRITE, parameters)
    return operation_id


def read_order(connection: Connection[Any], operation_id: str) -> dict[str, object]:
    """Read one row, in a transaction as the driver makes it by default."""
    with connection.transaction():
        row = connection.execute("select id, spec, created_at from operation where id = %s", (operation_id,)).fetchone()
    assert row is not None
    return {"id": str(row[0]), "spec": row[1], "createdAt": row[2].isoformat()}


def make_app(database_url: str) -> Starlette:
    """Make the app, whose pool is open while it runs."""
    pool = ConnectionPool(database_url, min_size=1, max_size=POOL_SIZE, open=False, kwargs={"autocommit": True})

    def in_pool(work: Any, *given: Any) -> Any:
        with pool.connection() as connection:
            return work(connection, *given)

    async def post(request: Request) -> Response:
        body, key = await request.body(), request.headers["idempotency-key"]
        operation_id = await run_in_threadpool(in_pool, write_order, body, key)
        return JSONResponse({"operationId": str(operation_id), "statusUrl": f"/bare/{operation_id}"}, 202)

    async def get(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(in_pool, read_order, request.path_params["operation_id"]))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = POOL_SIZE
        pool.open()
        yield
        pool.close()

    routes = [Route("/bare", post, methods=["POST"]), Route("/bare/{operation_id}", get)]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    app = make_app(os.environ["BENCH_DATABASE_URL"])
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), access_log=False, log_level="warning")
