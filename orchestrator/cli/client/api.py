"""The client of the API that the commands use."""

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from orchestrator.domain.errors import ConfigurationError, HostwrightError

RUN_FILE = "hostwright.json"
"""The file in its state directory in which a running `hostwright up` says how to reach it."""
_NEWEST = 100
"""How many operations are searched for the newest one of a server."""
_TIMEOUT_SECONDS = 35.0
"""It is longer than the longest `Prefer: wait`."""


class Refused(HostwrightError):
    """The API refused a request. The text is its reason, with the wrong fields; `code` is that of the problem."""

    def __init__(self, reason: str, code: str | None = None) -> None:
        """Keep the reason and the code."""
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Client:
    """The API at an address, with a token."""

    url: str
    token: str

    def request(
        self, method: str, path: str, *, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Send a request. Returns the JSON answer. Raises Refused."""
        _check_text("the token", self.token)
        try:
            answer = httpx.request(
                method,
                self.url + path,
                json=body,
                headers={"Authorization": f"Bearer {self.token}"} | (headers or {}),
                timeout=_TIMEOUT_SECONDS,
                trust_env=False,
                verify=_tls(self.url.startswith("https:")),
            )
        except httpx.HTTPError as error:
            raise Refused(f"{self.url} does not answer ({error}): is it running? `hostwright up --lab`") from error
        except httpx.InvalidURL as error:
            raise Refused(f"--url {self.url!r} is no address: {error}") from error
        except UnicodeError as error:
            raise Refused("what was given holds bytes that are not text, which cannot be sent") from error
        if answer.is_error:
            raise _refusal(answer)
        try:
            found: dict[str, Any] = answer.json() if answer.content else {}
        except ValueError as error:
            raise Refused(f"{self.url} is no API of Hostwright, because its answer is not JSON: check --url") from error
        return found

    def pages(self, path: str, member: str) -> Iterator[dict[str, Any]]:
        """Read every entry of a list, page by page. `path` has a query. Raises Refused."""
        after = ""
        while True:
            page = self.request("GET", path + after)
            yield from page[member]
            if page["next"] is None:
                return
            after = f"&after={page['next']}"

    def order(self, body: dict[str, Any], key: str | None) -> dict[str, Any]:
        """Place an order, with an idempotency key if one is given. Raises Refused."""
        if key is not None:
            _check_text("--key", key)
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.request("POST", "/api/instances", body=body, headers=headers)

    def server_id(self, given: str) -> str:
        """Find the server that a person means by its id, its VMID, its host name or the name under which it is joined.

        A VMID is an id for the API, too. Raises Refused when there is no such server.
        """
        with suppress(ValueError):
            return str(UUID(given))
        if re.fullmatch("[0-9]{1,9}", given):
            return given
        for instance in self.pages("/api/instances?limit=200", "instances"):
            if given.lower() in (instance["hostname"], (instance.get("join") or {}).get("address")):
                return str(instance["serverId"])
        raise Refused(f"there is no server {given}: `hostwright list` shows them", "not-found")

    def operation_id(self, given: str, kind: str | None = None) -> str:
        """Find the operation that a person means by its id, or by the id, VMID or host name of its server.

        A server stands for its newest operation, or its newest one of this kind. Raises Refused when none of the newest
        operations is the server's.
        """
        page = self.request("GET", f"/api/instances/operations?limit={_NEWEST}{f'&kind={kind}' if kind else ''}")
        for operation in page["operations"]:
            names = (operation["operationId"], operation["serverId"], str(operation["vmid"]), operation["hostname"])
            if given.lower() in names:
                return str(operation["operationId"])
        with suppress(ValueError):
            return str(UUID(given))
        raise Refused(f"{given} is no operation id, and no server of yours with one among the newest {_NEWEST}")

    def operation(self, operation_id: str, wait: float | None = None) -> dict[str, Any]:
        """Read an operation, with `wait` at its next change, or after so many seconds."""
        headers = {"Prefer": f"wait={int(wait)}"} if wait is not None else {}
        return self.request("GET", f"/api/instances/operations/{operation_id}", headers=headers)


@cache
def _tls(used: bool) -> ssl.SSLContext:
    """Make the TLS context once. httpx would load the authorities for every request (20 ms), even without TLS."""
    return ssl.create_default_context() if used else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def read_run_file(state_dir: Path) -> dict[str, Any]:
    """Read how to reach a running `hostwright up`. Raises ConfigurationError when none runs."""
    path = state_dir / RUN_FILE
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"no running Hostwright in {state_dir}: start `hostwright up --lab`, name its --state-dir, "
            "or set HOSTWRIGHT_URL and HOSTWRIGHT_TOKEN"
        ) from error
    return run


def _check_text(what: str, value: str) -> None:
    if not re.fullmatch("[\x21-\x7e]{1,255}", value):
        raise Refused(f"{what} must be 1 to 255 visible ASCII characters")


def _refusal(answer: httpx.Response) -> Refused:
    try:
        problem = answer.json()
        lines = [f"{problem['detail']} ({problem['code']})"]
        lines += [
            f"  {error.get('pointer') or error.get('parameter') or 'body'}: {error['detail']}"
            for error in problem.get("errors") or []
        ]
        return Refused("\n".join(lines), problem["code"])
    except (ValueError, KeyError, TypeError):
        return Refused(f"HTTP {answer.status_code}")
