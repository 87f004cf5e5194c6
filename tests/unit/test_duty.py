"""What the log says of a duty that fails, and when it is well again."""

from collections.abc import Iterable

import pytest

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store.outage import Outage
from orchestrator.worker.duties.duty import Duty


def perform(outcomes: Iterable[Exception | list[str]]) -> None:
    """Perform a duty once for each outcome."""
    following = iter(outcomes)

    def act() -> list[str]:
        outcome = next(following)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    duty, outage = Duty("tidy", 5, act), Outage()
    for _ in outcomes:
        duty.perform_once(outage)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([[], ["one is tidied"]], ["tidy: one is tidied"]),
        ([ValueError("x")] * 3, ["tidy: it fails, and is tried again every 5 s"]),
        ([ValueError("x"), ValueError("y")], ["tidy: it fails, and is tried again every 5 s"] * 2),
        ([ValueError("x"), [], []], ["tidy: it fails, and is tried again every 5 s", "tidy: it is well again"]),
        ([[], StoreUnavailable("away"), []], ["the database does not answer: away"]),
    ],
    ids=["works", "fails on", "fails otherwise", "recovers", "outage"],
)
def test_case_d4_logs_once_that_it_fails_and_that_it_is_well_again(
    outcomes: list[Exception | list[str]], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    perform(outcomes)
    assert [record.message for record in caplog.records] == expected


def test_case_d4_says_why_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    perform([ValueError("no such place")])
    assert "no such place" in caplog.text
