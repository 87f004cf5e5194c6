"""What an operator is told of a failure, and what its customer is told: nothing of how the site is built."""

import json
from typing import Any

import pytest

from orchestrator.domain.errors import WAITING, Code
from orchestrator.domain.models import Cleanup, CleanupStep, Failure
from orchestrator.domain.operations import PROVISION
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import PhaseStatus
from orchestrator.domain.updates import Logged
from orchestrator.store import endings, leases
from orchestrator.store.endings import Undone
from tests.support.fix_api import Api, Caller, lease_of
from tests.support.fix_stack import GAME

OPERATIONS = "/api/instances/operations"
FACTS = (
    "pve7.internal.example:8006", "node pve7", "UPID:pve7:0003A1:00:vzclone:100:hostwright@pve!worker:",
    "/etc/traefik/dynamic", "mark of instance 5d2b9c1e",
)  # fmt: skip
TEXT = "; ".join(FACTS)


def fail(api: Api, caller: Caller, code: Code) -> str:
    """An order that fails with the site's facts in everything that a failure can say; returns its operation."""
    row = api.claim(caller.order(GAME)["operationId"])
    failure = Failure(code=code, phase=Phase.CLONE_CONTAINER, task=TEXT, message=TEXT, detail={"proxmox": TEXT})
    endings.begin_cleaning(api.database, lease_of(row), failure)
    step = CleanupStep(name=Phase.DELETE_CONTAINER, status=PhaseStatus.FAILED, message=TEXT)
    cleanup = Cleanup(status=PhaseStatus.FAILED, steps=(step,), leaked=("container:5000",))
    undone = Undone(kind=PROVISION, cleanup=cleanup, attend_seconds=3600, quarantine_seconds=3600)
    endings.finish_undone(api.database, row.instance_id, lease_of(row), undone)
    return str(row.id)


def told(caller: Caller, operation_id: str) -> list[dict[str, Any]]:
    """All that the API says of an operation."""
    paths = (f"{OPERATIONS}/{operation_id}", f"{OPERATIONS}?limit=200", f"{OPERATIONS}/{operation_id}/events")
    return [caller.get(path).json() for path in paths]


def test_case_c7_a_customer_sees_no_facts_of_the_site(api: Api) -> None:
    customer, operator = api.customer(), api.caller(None)
    for code in Code:
        operation_id = fail(api, customer, code)
        text = json.dumps(told(customer, operation_id))
        assert [fact for fact in FACTS if fact in text] == []
        shown, _, log = told(customer, operation_id)
        assert shown["error"] == {
            "code": code, "phase": "clone-container", "task": None, "message": code.customer_sentence, "detail": None,
        }  # fmt: skip
        assert shown["cleanup"] == {
            "status": "failed", "steps": [{"name": "delete-container", "status": "failed", "message": None}],
            "leaked": ["container:5000"],
        }  # fmt: skip
        lines = [line["message"] for line in log["events"]]
        assert lines[-2:] == [code.customer_sentence, "left behind: container:5000"]

        shown, listed, log = told(operator, operation_id)
        assert all(fact in json.dumps(each) for fact in FACTS for each in (shown, listed, log))
        assert shown["error"]["detail"] == {"proxmox": TEXT}


def test_case_c7_a_customer_sees_what_its_own_server_says_and_nothing_else(api: Api) -> None:
    customer = api.customer()
    row = api.claim(customer.order(GAME)["operationId"])
    detail = {"logTail": ["writing level.dat", "no space left on device"], "address": TEXT}
    words = "the disk of the world is full"
    failure = Failure(code=Code.AGENT_ERROR, phase=Phase.WAIT_FOR_AGENT, task=TEXT, message=words, detail=detail)
    endings.begin_cleaning(api.database, lease_of(row), failure)
    shown, _, log = told(customer, str(row.id))
    assert shown["error"] == {
        "code": "agent-error", "phase": "wait-for-agent-terminal-state", "task": None, "message": words,
        "detail": {"logTail": detail["logTail"]},
    }  # fmt: skip
    assert log["events"][-1]["message"] == words


def test_case_c7_a_customer_does_not_read_what_a_provider_says(api: Api) -> None:
    customer, operator = api.customer(), api.caller(None)
    row = api.claim(customer.order(GAME)["operationId"])
    leases.record(api.database, lease_of(row), [Logged(Phase.PUBLISH_EDGE, "info", f"{WAITING}{TEXT}")])
    assert [fact for fact in FACTS if fact in json.dumps(told(customer, str(row.id)))] == []
    assert TEXT in json.dumps(told(operator, str(row.id)))


def test_case_c7_a_code_of_a_newer_release_is_told_too(api: Api) -> None:
    customer = api.customer()
    operation_id = fail(api, customer, Code.INTERNAL)
    api.query(
        "update operation set error = jsonb_set(error, '{code}', '\"from-tomorrow\"') where id = %s", operation_id
    )
    shown = customer.operation(operation_id)
    assert shown["error"]["code"] == "from-tomorrow"
    assert shown["error"]["message"] == Code.INTERNAL.customer_sentence


@pytest.mark.parametrize("code", Code)
def test_case_c7_each_code_has_a_sentence_for_customers(code: Code) -> None:
    assert code.customer_sentence[0].islower()
    assert not code.customer_sentence.endswith(".")
