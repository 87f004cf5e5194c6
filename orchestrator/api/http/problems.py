"""Problems: refusals and errors, as RFC 9457 answers."""

import json
from http import HTTPStatus
from typing import NoReturn

from starlette.requests import Request
from starlette.responses import Response

from orchestrator.domain.errors import Problem, ProblemCode

MAX_ERRORS = 20
"""How many wrong parts of a request an answer names. A body of 64 KiB has room for thousands."""
MEDIA_TYPE = "application/problem+json"
_TITLES = {status.value: status.phrase for status in HTTPStatus}
_BY_STATUS = {404: ProblemCode.NOT_FOUND, 405: ProblemCode.METHOD_NOT_ALLOWED}


def problem_response(problem: Problem) -> Response:
    """The answer to a refused request."""
    body = {
        "type": f"urn:hostwright:problem:{problem.code}",
        "title": _TITLES[problem.status],
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        **problem.extra,
    }
    return Response(
        json.dumps(body),
        problem.status,
        headers=problem.headers | {"Cache-Control": "no-store"},
        media_type=MEDIA_TYPE,
    )


def invalid(errors: list[dict[str, str]]) -> NoReturn:
    """Refuse a request. Each error has a `pointer` or a `parameter`, and a `detail` that says what is wrong with it.

    The answer has the first MAX_ERRORS of them and says how many more there are.
    """
    told = errors[:MAX_ERRORS]
    named = ", ".join(error.get("pointer") or error.get("parameter") or "the body" for error in told)
    more = f", and {len(errors) - len(told)} more" if len(errors) > len(told) else ""
    raise Problem(ProblemCode.INVALID_REQUEST, f"the request is not valid: {named[:500]}{more}", {"errors": told})


def unavailable() -> Problem:
    """The database is away. Nothing is half-written; repeating an order with its key tells whether it was taken."""
    return Problem(
        ProblemCode.UNAVAILABLE,
        "the database does not answer at the moment: try again, an order with the same Idempotency-Key",
        headers={"Retry-After": "2"},
    )


def not_found() -> Problem:
    """There is no such thing, or it belongs to somebody else: the answer is the same."""
    return Problem(ProblemCode.NOT_FOUND, "there is no such thing, or it is not yours")


async def handle_http_error(request: Request, error: Exception) -> Response:
    """Answer to Starlette's own errors, such as an unknown path or a wrong method."""
    status = getattr(error, "status_code", 500)
    code = _BY_STATUS.get(status, ProblemCode.INVALID_REQUEST if status < 500 else ProblemCode.INTERNAL)
    detail = f"{request.method} is not a method of this path" if status == 405 else "there is no such path"
    headers = dict(getattr(error, "headers", None) or {})
    return problem_response(Problem(code, detail, headers=headers))


async def handle_defect(request: Request, error: Exception) -> Response:
    """Answer to a defect of ours. The trace is in the log, and the client learns nothing of it."""
    # The server closes the connection after a defect. A client that is not told would lose its next request.
    headers = {"Connection": "close"}
    return problem_response(
        Problem(ProblemCode.INTERNAL, "something went wrong on our side; it is in the log", headers=headers)
    )
