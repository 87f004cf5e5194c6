"""The Velocity bridge's API, and the callbacks that it sends after a registration."""

import asyncio
import hashlib
import hmac
import logging
from dataclasses import asdict
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from orchestrator.lab.edge.minecraft import ProtocolError, ping
from orchestrator.lab.edge.registrations import Backend, NameTakenError, Registrations
from orchestrator.lab.errors import InputError
from orchestrator.lab.faults import Fault, Faults
from orchestrator.lab.servers.http import read_json_or_form, with_faults

log = logging.getLogger(__name__)

SECRET_HEADER = "X-Zpack-Secret"  # noqa: S105 - a header, not a secret
PING_SECONDS = 3.0
CALLBACK_SECONDS = 5.0


def secret_header(secret: str) -> dict[str, str]:
    """The header that every call and every callback carries."""
    return {SECRET_HEADER: hashlib.sha256(secret.encode()).hexdigest()}


class Bridge:
    """The API over these registrations. Without a `callback_url` it sends no callbacks."""

    def __init__(self, registrations: Registrations, *, secret: str, callback_url: str | None, faults: Faults) -> None:
        self._registrations = registrations
        self._header = secret_header(secret)
        self._callback_url = callback_url
        self._faults = faults
        self._tasks: set[asyncio.Task[None]] = set()

    def make_application(self) -> web.Application:
        app = web.Application(middlewares=[with_faults("velocity", self._faults, _answer_fault), self._authorize])
        app.router.add_post("/zpack/register", self._register)
        app.router.add_post("/zpack/unregister", self._unregister)
        app.router.add_get("/zpack/status", self._show_status)
        return app

    async def close(self) -> None:
        """Give up the callbacks that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode(), self._header[SECRET_HEADER].encode()):
            return _make_failure(401, "the secret header is missing or wrong")
        try:
            return await handler(request)
        except InputError as error:
            return _make_failure(400, str(error))

    async def _register(self, request: web.Request) -> web.Response:
        body = await read_json_or_form(request)
        name, address, port = _read_text(body, "server_name"), _read_text(body, "address"), _read_port(body)
        try:
            backend = self._registrations.register(name, address, port)
        except NameTakenError as error:
            return _make_failure(409, str(error))
        self._report(backend)
        return web.json_response({"ok": True, "server_name": backend.name})

    async def _unregister(self, request: web.Request) -> web.Response:
        name = _read_text(await read_json_or_form(request), "server_name")
        if not self._registrations.unregister(name):
            return _make_failure(404, f"{name.lower()} is not registered")
        return web.json_response({"ok": True, "server_name": name.lower()})

    async def _show_status(self, request: web.Request) -> web.Response:
        return web.json_response({"servers": [asdict(backend) for backend in self._registrations.all()]})

    def _report(self, backend: Backend) -> None:
        """Start the callbacks. The answer to the registration does not wait for them."""
        if self._callback_url is None:
            return
        task = asyncio.get_running_loop().create_task(self._call_back(backend, self._callback_url))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call_back(self, backend: Backend, url: str) -> None:
        timeout = aiohttp.ClientTimeout(total=CALLBACK_SECONDS)
        async with aiohttp.ClientSession(headers=self._header, timeout=timeout) as session:
            await _send(session, url, backend, {"event": "registered_with_proxy"})
            await _send(session, url, backend, await _ping_backend(backend))


async def _ping_backend(backend: Backend) -> dict[str, Any]:
    """Ping the backend; returns the event that reports the outcome."""
    try:
        await ping(backend.address, backend.port, backend.name, seconds=PING_SECONDS)
    except (OSError, ProtocolError) as error:
        return {"event": "proxy_ping_failed", "error": str(error) or type(error).__name__}
    return {"event": "proxy_ping_ok"}


async def _send(session: aiohttp.ClientSession, url: str, backend: Backend, event: dict[str, Any]) -> None:
    where = {"server_name": backend.name, "address": backend.address, "port": backend.port}
    try:
        async with session.post(url, json=where | event) as response:
            log.debug("callback %s for %s: %d", event["event"], backend.name, response.status)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        log.debug("callback %s for %s failed: %s", event["event"], backend.name, error)


def _answer_fault(fault: Fault) -> web.Response | None:
    if "httpStatus" not in fault:
        return None
    return _make_failure(fault["httpStatus"], fault.get("message", "injected fault"))


def _make_failure(status: int, message: str) -> web.Response:
    return web.json_response({"ok": False, "error": message}, status=status)


def _read_text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InputError(name, "must be a non-empty string")
    return value.strip()


def _read_port(body: dict[str, Any]) -> int:
    """The port, which a form gives as text."""
    value = body.get("port")
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise InputError("port", "must be a port from 1 to 65535")
    return int(text)
