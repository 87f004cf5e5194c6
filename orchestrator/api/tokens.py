"""Access tokens, for operators. A token itself is shown once, when it is made; afterwards it is called by its id."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field
from starlette.responses import Response

from orchestrator.api.http.answers import Answer
from orchestrator.api.http.call import Call, answer
from orchestrator.api.http.problems import not_found
from orchestrator.api.instances.orders import CustomerId, RequestBody, invalid, one_line, parse_body, parse_customer
from orchestrator.domain.models import TokenRow
from orchestrator.store import accounts

_PAGE = 50
_MAX_PAGE = 200
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""Python knows no time after the year 9999, in whatever zone."""


class TokenRequest(RequestBody):
    """A token to make: a customer's, or an operator's."""

    name: Annotated[str, Field(min_length=1, max_length=100, description="What it is for."), AfterValidator(one_line)]
    customer_id: CustomerId | None = None
    operator: bool = False
    expires_at: Annotated[AwareDatetime, Field(strict=False)] | None = None


class TokenAnswer(Answer):
    """A token without the token."""

    token_id: UUID
    name: str
    customer_id: str | None = Field(description="Null: an operator's.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_address: str | None


class NewToken(TokenAnswer):
    """A token that was made just now."""

    token: str = Field(description="Shown this once.")


class TokenPage(Answer):
    """Tokens, newest first; `next` is the `after` of the next page."""

    tokens: list[TokenAnswer]
    next: UUID | None


def list_all(call: Call) -> Response:
    """Every token, or a customer's."""
    limit = call.number("limit", default=_PAGE, low=1, high=_MAX_PAGE)
    customer_id = parse_customer(call.query.get("customerId"))
    rows = accounts.list_tokens(call.parts.database, customer_id=customer_id, after=call.cursor(), limit=limit)
    following = rows[-1].id if len(rows) == limit else None
    return answer(TokenPage(tokens=[token_answer(row) for row in rows], next=following))


def create(call: Call) -> Response:
    """Make a token."""
    request = parse_body(TokenRequest, call.body)
    if request.operator == (request.customer_id is not None):
        invalid([{"pointer": "/customerId", "detail": "say whose token it is: a customerId, or operator true"}])
    if request.expires_at is not None and not datetime.now(UTC) < request.expires_at < _LATEST:
        invalid([{"pointer": "/expiresAt", "detail": f"must lie in the future, before the year {_LATEST.year}"}])
    if request.customer_id and accounts.get_customer(call.parts.database, request.customer_id) is None:
        invalid([{"pointer": "/customerId", "detail": "is not a known customer"}])
    row, token = accounts.issue_token(
        call.parts.database, name=request.name, customer_id=request.customer_id, expires_at=request.expires_at
    )
    call.trace.target = str(row.id)
    return answer(NewToken(token=token, **token_answer(row).model_dump()), 201)


def revoke(call: Call) -> Response:
    """End a token; it works nowhere from then on."""
    if not accounts.revoke_token(call.parts.database, call.uuid("token_id")):
        raise not_found()
    return Response(status_code=204)


def token_answer(row: TokenRow) -> TokenAnswer:
    """A token's row as an operator sees it."""
    address = None if row.last_address is None else str(row.last_address)
    return TokenAnswer(token_id=row.id, **row.model_dump(exclude={"id", "last_address"}), last_address=address)
