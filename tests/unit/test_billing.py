"""What a customer may do in each billing state."""

import pytest

from orchestrator.domain.billing import REFUSALS, STOPPED_STATES, Action, BillingState, refuse
from orchestrator.domain.errors import ProblemCode

PAYMENT, SUSPENDED = ProblemCode.PAYMENT_REQUIRED, ProblemCode.CUSTOMER_SUSPENDED
NEW = {Action.ORDER, Action.RETRY}
CHANGES = set(Action) - {Action.READ}


@pytest.mark.parametrize(
    ("state", "refused", "code"),
    [
        ("active", set(), None),
        ("past_due", NEW, PAYMENT),
        ("overdue_warning", NEW, PAYMENT),
        ("suspended", CHANGES, SUSPENDED),
        ("retained", CHANGES, SUSPENDED),
        ("pending_deletion", CHANGES, SUSPENDED),
    ],
)
def test_refuses_what_the_state_does_not_allow(state: str, refused: set[Action], code: ProblemCode | None) -> None:
    problems = {action: refuse(BillingState(state), action) for action in Action}
    assert {action for action, problem in problems.items() if problem} == refused
    assert {problem.code for problem in problems.values() if problem} == ({code} if code else set())


def test_lets_a_customer_only_read_in_a_state_of_a_newer_release() -> None:
    problems = {action: refuse("on_trial", action) for action in Action}
    assert {action for action, problem in problems.items() if problem} == CHANGES
    assert {problem.code for problem in problems.values() if problem} == {SUSPENDED}


def test_lets_servers_run_where_their_customer_may_start_them() -> None:
    assert {"suspended", "retained", "pending_deletion"} == STOPPED_STATES


def test_has_one_sentence_for_each_state_that_refuses() -> None:
    assert set(REFUSALS) == set(BillingState) - {BillingState.ACTIVE}
    assert len({sentence for _, sentence in REFUSALS.values()}) == len(REFUSALS)
