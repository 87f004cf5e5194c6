"""The rows of the webhooks."""

from orchestrator.api.hooks import billing, callback, proxy
from orchestrator.api.http.endpoint import BODY_PROBLEMS, Endpoint
from orchestrator.domain.errors import ProblemCode

ENDPOINTS = (
    Endpoint(
        "POST", "/internal/velocity/proxy-status", "takeProxyStatus", proxy.take_status,
        "Take the proxy bridge's callbacks",
        status=204, public=True, proof=proxy.prove, body=(proxy.ProxyStatus,), parameters=(proxy.SECRET,),
        problems=(*BODY_PROBLEMS, ProblemCode.UNAUTHENTICATED, ProblemCode.UNAVAILABLE),
    ),
    Endpoint(
        "POST", "/internal/billing", "takeBillingEvent", billing.take_event,
        "Take what the billing system says of a customer",
        status=204, public=True, proof=billing.prove, body=(billing.BillingEvent,), parameters=(billing.SIGNATURE,),
        problems=(
            *BODY_PROBLEMS, ProblemCode.UNAUTHENTICATED, ProblemCode.NOT_FOUND, ProblemCode.UNAVAILABLE,
        ),
    ),
    Endpoint(
        "POST", "/api/callbacks/{token}", "takeCallback", callback.take_report,
        "Take what an instance says of itself, once",
        status=204, public=True, body=(callback.CallbackReport,), parameters=(callback.TOKEN,),
        problems=(*BODY_PROBLEMS, ProblemCode.NOT_FOUND, ProblemCode.UNAVAILABLE),
    ),
)  # fmt: skip
