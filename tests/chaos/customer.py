"""A customer that behaves like a careful portal: it asks any API again, with an idempotency key, until one answers.

It keeps what it was told. The check compares the world with that, and not with the database.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

GAME: Mapping[str, Any] = {"ctype": "game", "variant": "vanilla", "version": "1.21.7"}
DEV: Mapping[str, Any] = {"ctype": "dev", "runtime": "python", "version": "3.12"}
FINAL = frozenset({"succeeded", "failed", "cancelled"})
PATIENCE_SECONDS = 60.0
"""How long an API may be away before its customer gives up."""
_LATER = frozenset({429, 502, 503})
"""Answers after which a customer asks again."""
_ANSWER_SECONDS = 5.0
_POLL_SECONDS = 0.2


class BrokenError(Exception):
    """A promise was not kept; the text says which one."""


class MissedError(BrokenError):
    """An operation had left a phase before it could be met there. Nothing was done to it."""


@dataclass
class Server:
    """One server, with everything that its customer was told about it."""

    customer: "Customer"
    server_id: str
    operation_id: str
    """The operation that the customer asked for last."""
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Operation id → its final answer."""
    leaving: bool = False
    """Whether the customer has asked for its teardown."""
    deleted: bool = False

    @property
    def last(self) -> dict[str, Any]:
        """The final answer about the operation that the customer asked for last."""
        return self.told[self.operation_id]

    @property
    def is_there(self) -> bool:
        """Whether the customer was told that it has this server, and has not asked for its teardown."""
        return not self.leaving and any(
            one["kind"] == "provision" and one["status"] == "succeeded" for one in self.told.values()
        )


class Customer:
    """One token, and the APIs that accept it."""

    def __init__(self, urls: tuple[str, ...], token: str) -> None:
        """Nothing is asked yet."""
        self._urls = urls
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Ask until an API answers. Raises BrokenError when none does for PATIENCE_SECONDS."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        said = "nothing was asked"
        with httpx.Client(headers=self._headers, timeout=_ANSWER_SECONDS, trust_env=False) as client:
            while time.monotonic() < deadline:
                for url in self._urls:
                    try:
                        answer = client.request(method, url + path, json=body, headers=headers)
                    except httpx.HTTPError as error:
                        said = f"{type(error).__name__} {error}"
                        continue
                    if answer.status_code not in _LATER:
                        return answer
                    said = f"HTTP {answer.status_code} {answer.text}"
                time.sleep(_POLL_SECONDS)
        raise BrokenError(f"no API answered {method} {path} for {PATIENCE_SECONDS:g} s: {said}")

    def order(self, body: Mapping[str, Any] = GAME) -> Server:
        """Order a server. Asking again with the same key cannot make a second one."""
        answer = self.ask("POST", "/api/instances", body=body, headers={"Idempotency-Key": uuid4().hex})
        accepted = _expect(answer, 202)
        return Server(self, accepted["serverId"], accepted["operationId"])

    def delete(self, server: Server) -> None:
        """Ask for its teardown."""
        server.leaving = True
        server.operation_id = _expect(self.ask("DELETE", f"/api/instances/{server.server_id}"), 202)["operationId"]

    def act(self, server: Server, verb: str) -> None:
        """Ask to start or to stop it."""
        answer = self.ask("POST", f"/api/instances/{server.server_id}/{verb}")
        server.operation_id = _expect(answer, 202)["operationId"]

    def retry(self, server: Server) -> None:
        """Ask to take its failed order up again."""
        answer = self.ask("POST", f"/api/instances/operations/{server.operation_id}/retry")
        server.operation_id = _expect(answer, 202)["operationId"]

    def see(self, server: Server) -> dict[str, Any]:
        """The server as it is now."""
        return _expect(self.ask("GET", f"/api/instances/{server.server_id}"), 200)

    def cancel(self, server: Server) -> int:
        """Ask to cancel the operation; returns the status of the answer, 202 or 409."""
        return self.ask("POST", f"/api/instances/operations/{server.operation_id}/cancel").status_code

    def show(self, operation_id: str) -> dict[str, Any]:
        """The operation as it is now."""
        return _expect(self.ask("GET", f"/api/instances/operations/{operation_id}"), 200)

    def finish(self, server: Server, seconds: float) -> dict[str, Any]:
        """Wait until the operation that the customer asked for last is final. Raises BrokenError after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            operation = self.show(server.operation_id)
            if operation["status"] in FINAL:
                server.told[server.operation_id] = operation
                if operation["kind"] == "teardown" and operation["status"] == "succeeded":
                    server.deleted = True
                return operation
            if time.monotonic() > deadline:
                where = f"{operation['status']} in {operation['phase']}, attempt {operation['attempt']}"
                raise BrokenError(
                    f"{operation['kind']} {server.operation_id} is not final after {seconds:g} s: {where}"
                )
            time.sleep(_POLL_SECONDS)


def _expect(answer: httpx.Response, status: int) -> dict[str, Any]:
    if answer.status_code != status:
        raise BrokenError(
            f"{answer.request.method} {answer.request.url.path} was answered {answer.status_code}: {answer.text[:300]}"
        )
    found: dict[str, Any] = answer.json()
    return found
