"""What the lab's HTTP services share: reading a body, and applying an injected fault before the handler."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from orchestrator.lab.errors import InputError
from orchestrator.lab.faults import Fault, Faults


async def json_object(request: web.Request) -> dict[str, Any]:
    """The body as an object; raises InputError when it is none."""
    try:
        value = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise InputError("body", "is not JSON") from error
    if not isinstance(value, dict):
        raise InputError("body", "is not a JSON object")
    return value


async def json_or_form(request: web.Request) -> dict[str, Any]:
    """A JSON object or a form; without a content type the first character decides."""
    body = await request.read()
    if request.content_type == "application/x-www-form-urlencoded" and not body.lstrip().startswith(b"{"):
        return {key: str(value) for key, value in (await request.post()).items()}
    return await json_object(request)


def with_faults(target: str, faults: Faults, respond: Callable[[Fault], web.Response | None]) -> Middleware:
    """A fault waits its `hang` seconds, then answers what `respond` makes of it, if anything."""

    @web.middleware
    async def apply_fault(request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = faults.take(target, method=request.method, path=request.path)
        if fault is not None:
            await asyncio.sleep(fault.get("hang", 0))
            response = respond(fault)
            if response is not None:
                return response
        return await handler(request)

    return apply_fault
