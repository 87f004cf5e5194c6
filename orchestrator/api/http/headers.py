"""The security headers of every answer, the limits of a request's head, and the prefix below which it came."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.http.prefixes import find_prefix, place_below
from orchestrator.api.http.problems import problem_response
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.settings import Settings

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""Set on every answer that does not set them itself. The TLS front sets HSTS: it knows whether there is TLS."""
MAX_TARGET_BYTES = 8 * 1024
MAX_HEADER_BYTES = 16 * 1024


class Guard:
    """Wraps the whole application, so that its own errors carry the headers too."""

    def __init__(self, app: ASGIApp, settings: Settings, rooms: Collection[str]) -> None:
        """`app` is the application, and `rooms` are the first parts of its paths."""
        self._app = app
        self._trusted = settings.trusted_networks
        self._public_path = settings.public_path
        self._rooms = rooms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                have = {name.lower() for name, _ in message["headers"]}
                missing = (pair for pair in SECURITY_HEADERS if pair[0] not in have)
                message = {**message, "headers": [*message["headers"], *missing]}
            await send(message)

        problem = too_long(scope)
        if problem is not None:
            await problem_response(problem)(scope, receive, send_guarded)
        else:
            await self._app(self._place(scope), receive, send_guarded)

    def _place(self, scope: Scope) -> Scope:
        """The request below its prefix, as ASGI wants it: `root_path` is the prefix, with which `path` begins."""
        peer = scope["client"][0] if scope.get("client") else None
        forwarded = Headers(scope=scope).getlist("x-forwarded-prefix")
        prefix = find_prefix(peer, forwarded, self._trusted, self._public_path)
        return {**scope, "root_path": prefix, "path": place_below(prefix, scope["path"], self._rooms)}


def too_long(scope: Scope) -> Problem | None:
    """Why the head of a request is too long, or None when it is not."""
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET_BYTES:
        return Problem(ProblemCode.URI_TOO_LONG, f"path and query are longer than {MAX_TARGET_BYTES // 1024} KiB")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        return Problem(ProblemCode.HEADERS_TOO_LARGE, f"the headers are larger than {MAX_HEADER_BYTES // 1024} KiB")
    return None
