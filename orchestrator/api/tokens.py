"""Access tokens, for operators. The token itself is shown only when it is made; later it is named by its id."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field
from starlette.responses import Response

from orchestrator.api.http.answers import Address, Answer, answer
from orchestrator.api.http.bodies import CustomerId, RequestBody, parse_body
from orchestrator.api.http.call import Call
from orchestrator.api.http.endpoint import BODY_PROBLEMS, OPERATOR_PROBLEMS, Endpoint
from orchestrator.api.http.pages import Pages
from orchestrator.api.http.parameters import AFTER_ID, CUSTOMER, path_id
from orchestrator.api.http.problems import invalid, not_found
from orchestrator.domain.accounts import TokenName
from orchestrator.domain.errors import ProblemCode
from orchestrator.domain.models import TokenRow
from orchestrator.store import accounts

PAGES = Pages(AFTER_ID)
TOKEN = path_id("token_id", "The token's id, which is not the token itself.")
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""The latest expiry: Python cannot represent times after the year 9999 in every time zone."""


class TokenRequest(RequestBody):
    """A token to make, for a customer or for an operator."""

    name: TokenName
    """What the token is for."""
    customer_id: CustomerId | None = None
    """The customer whose token it is."""
    operator: bool = False
    """Whether it is an operator's token; then there is no `customerId`."""
    expires_at: Annotated[AwareDatetime, Field(strict=False)] | None = None
    """When it expires; left out or null: never."""


class TokenAnswer(Answer):
    """What is known of a token; the token itself is not kept."""

    token_id: UUID
    """The id by which it is listed and revoked."""
    name: str
    """What the token is for."""
    customer_id: str | None
    """Whose token it is. Null for an operator's token."""
    created_at: datetime
    """When it was made."""
    expires_at: datetime | None
    """When it expires; null: never."""
    revoked_at: datetime | None
    """When it was revoked."""
    last_used_at: datetime | None
    """When it was last used, to the minute."""
    last_address: Address | None
    """From which address it was last used."""


class NewToken(TokenAnswer):
    """A new token."""

    token: str
    """The token itself, which is shown only here."""


class TokenPage(Answer):
    """Tokens, newest first; `next` is the `after` of the next page."""

    tokens: list[TokenAnswer]
    """The tokens of the page."""
    next: UUID | None
    """The `after` of the next page; null on the last."""


def list_all(call: Call) -> Response:
    """List every token, or those of one customer."""
    fetch = partial(accounts.list_tokens, call.parts.database, customer_id=call.read(CUSTOMER))
    rows, following = PAGES.read(call, fetch, lambda row: row.id)
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
    call.target = str(row.id)
    return answer(NewToken.of(row, token_id=row.id, token=token), 201)


def revoke(call: Call) -> Response:
    """Revoke a token."""
    if not accounts.revoke_token(call.parts.database, call.read(TOKEN)):
        raise not_found()
    return Response(status_code=204)


def token_answer(row: TokenRow) -> TokenAnswer:
    """Turn a token's row into its answer."""
    return TokenAnswer.of(row, token_id=row.id)


ENDPOINTS = (
    Endpoint(
        "GET", "/tokens", "listTokens", list_all, "List access tokens, newest first", operator=True,
        result=TokenPage, parameters=(CUSTOMER, *PAGES.parameters), problems=OPERATOR_PROBLEMS,
    ),
    Endpoint(
        "POST", "/tokens", "createToken", create, "Make an access token; it is shown this once", operator=True,
        status=201, result=NewToken, body=(TokenRequest,), problems=(ProblemCode.FORBIDDEN, *BODY_PROBLEMS),
    ),
    Endpoint(
        "DELETE", "/tokens/{token_id}", "revokeToken", revoke, "Revoke an access token", operator=True, status=204,
        parameters=(TOKEN,), problems=(ProblemCode.FORBIDDEN, ProblemCode.NOT_FOUND),
    ),
)  # fmt: skip
