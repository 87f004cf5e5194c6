"""The client of the API that the commands use."""

import json
import ssl
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
    """The API refused a request. The text is its reason, with the wrong fields."""


@dataclass(frozen=True)
class Client:
    """The API at an address, with a token."""

    url: str
    token: str

    def request(
        self, method: str, path: str, *, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Send a request. Returns the JSON answer. Raises Refused."""
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
        if answer.is_error:
            raise Refused(_reason(answer))
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    def operation_id(self, given: str, kind: str | None = None) -> str:
        """Find the operation that a person means by its id, or by the VMID or host name of its server.

        A server stands for its newest operation, or its newest one of this kind. Raises Refused when none of the newest
        operations is the server's.
        """
        with suppress(ValueError):
            return str(UUID(given))
        page = self.request("GET", f"/api/instances/operations?limit={_NEWEST}{f'&kind={kind}' if kind else ''}")
        for operation in page["operations"]:
            if given in (str(operation["vmid"]), operation["hostname"]):
                return str(operation["operationId"])
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


def _reason(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        lines = [f"{problem['detail']} ({problem['code']})"]
        lines += [
            f"  {error.get('pointer') or error.get('parameter') or 'body'}: {error['detail']}"
            for error in problem.get("errors") or []
        ]
        return "\n".join(lines)
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
