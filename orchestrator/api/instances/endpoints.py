"""The rows of instances."""

from orchestrator.api.http.endpoint import BILLING_PROBLEMS, BODY_PROBLEMS, Endpoint
from orchestrator.api.http.parameters import SERVER, WAIT
from orchestrator.api.http.response_headers import NEXT_LINK, PREFERENCE_APPLIED, REPLAYED
from orchestrator.api.instances import handlers
from orchestrator.api.instances.answers import InstanceAnswer, InstancePage, LegacyPage
from orchestrator.api.instances.orders import KEY, DevOrder, GameOrder
from orchestrator.api.operations.answers import ACCEPTED_HEADERS, Accepted
from orchestrator.domain.errors import ProblemCode
from orchestrator.domain.operations import START, STOP, TEARDOWN

_ORDER_PROBLEMS = (
    *BODY_PROBLEMS,
    ProblemCode.FORBIDDEN,
    *BILLING_PROBLEMS,
    ProblemCode.QUOTA_EXCEEDED,
    ProblemCode.IDEMPOTENCY_KEY_REUSED,
    ProblemCode.CREATE_IN_PROGRESS,
)
_POWER_PROBLEMS = (
    ProblemCode.NOT_FOUND,
    ProblemCode.DELETED,
    ProblemCode.INSTANCE_BUSY,
    ProblemCode.NOT_STARTABLE,
    ProblemCode.CUSTOMER_SUSPENDED,
)

LIST = Endpoint(
    "GET", "", "listInstances", handlers.list_all, "List instances in the order they were ordered", result=InstancePage,
    parameters=(handlers.LEAKED, *handlers.PAGES.parameters), problems=(ProblemCode.INVALID_REQUEST,),
)  # fmt: skip
LEGACY_LIST = Endpoint(
    "GET", "", "listServers", handlers.list_legacy, "List instances as the predecessor does",
    result=LegacyPage, headers=(NEXT_LINK,),
)  # fmt: skip
ENDPOINTS = (
    Endpoint(
        "POST", "", "orderInstance", handlers.create, "Order a game server or a dev container",
        status=202, result=Accepted, body=(GameOrder, DevOrder), parameters=(KEY, WAIT),
        headers=(*ACCEPTED_HEADERS, REPLAYED, PREFERENCE_APPLIED), problems=_ORDER_PROBLEMS,
    ),
    LIST,
    Endpoint(
        "GET", "/{server_id}", "showInstance", handlers.show, "Show an instance, by its id or its VMID",
        result=InstanceAnswer, parameters=(SERVER,), problems=(ProblemCode.NOT_FOUND, ProblemCode.DELETED),
    ),
    Endpoint(
        "DELETE", "/{server_id}", "deleteInstance", handlers.delete, "Tear an instance down",
        status=202, result=Accepted, parameters=(SERVER,), headers=ACCEPTED_HEADERS, action=TEARDOWN.action,
        problems=(ProblemCode.NOT_FOUND, ProblemCode.DELETED, ProblemCode.INSTANCE_BUSY, *BILLING_PROBLEMS),
    ),
    Endpoint(
        "POST", "/{server_id}/start", "startInstance", handlers.start, "Start a stopped instance and publish it again",
        status=202, result=Accepted, parameters=(SERVER,), headers=ACCEPTED_HEADERS, action=START.action,
        problems=_POWER_PROBLEMS,
    ),
    Endpoint(
        "POST", "/{server_id}/stop", "stopInstance", handlers.stop, "Take an instance off the edge and stop it",
        status=202, result=Accepted, parameters=(SERVER,), headers=ACCEPTED_HEADERS, action=STOP.action,
        problems=_POWER_PROBLEMS,
    ),
)  # fmt: skip
