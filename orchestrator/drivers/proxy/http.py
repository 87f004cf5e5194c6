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
        """An answer, whatever its status. Raises LaterError when the proxy wants to be left alone."""
        try:
            reply = self.http.call(method, f"{self.proxy.url}{path}", changes=method != "GET", **body)
        except HttpError as error:
            remedy = "is the proxy running and its address right?"
            raise self.proxy.failure(str(error), remedy, left_alone=error.left_alone, unsure=error.unsure) from None
        if reply.left_alone is not None:
            raise self.refused(reply)
        return reply

    def refused(self, reply: Reply) -> PhaseError:
        remedy = f"check secret {self.proxy.secret}" if reply.status in (401, 403) else ""
        return self.proxy.failure(f"HTTP {reply.status}: {reply.words()}", remedy, left_alone=reply.left_alone)
