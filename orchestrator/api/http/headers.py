"""The security headers of every answer, and the limits of a request's head."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.http.problems import problem_response
from orchestrator.domain.errors import Problem, ProblemCode

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

    def __init__(self, app: ASGIApp) -> None:
        """`app` is the application."""
        self._app = app

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
            await self._app(scope, receive, send_guarded)


def too_long(scope: Scope) -> Problem | None:
    """Why the head of a request is too long, or None when it is not."""
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET_BYTES:
        return Problem(ProblemCode.URI_TOO_LONG, f"path and query are longer than {MAX_TARGET_BYTES // 1024} KiB")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        return Problem(ProblemCode.HEADERS_TOO_LARGE, f"the headers are larger than {MAX_HEADER_BYTES // 1024} KiB")
    return None
