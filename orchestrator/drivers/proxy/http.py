"""What proxies with an HTTP API share: the request, and the sentence for a refusal."""

from __future__ import annotations

from typing import Any

from orchestrator.drivers.httpjson import HttpError, HttpJson, Reply
from orchestrator.drivers.proxy.base import ProxyDriver
from orchestrator.drivers.result import PhaseError

PLACE = "proxy"
"""Where a registration is, whatever the url of `hostwright_proxy` is today."""


class HttpProxyDriver(ProxyDriver):
    http: HttpJson

    def request(self, method: str, path: str, **body: Any) -> Reply:
        """An answer, whatever its status."""
        try:
            return self.http.call(method, f"{self.proxy.url}{path}", **body)
        except HttpError as error:
            raise self.proxy.failure(str(error), "is the proxy running and its address right?") from None

    def refused(self, reply: Reply) -> PhaseError:
        remedy = f"check secret {self.proxy.secret}" if reply.status in (401, 403) else ""
        return self.proxy.failure(f"HTTP {reply.status}: {reply.words()}", remedy)
