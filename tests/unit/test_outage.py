"""What the log says while the database does not answer."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.store.outage import Outage

AWAY = StoreUnavailable("connection refused\n\tIs the server running?")
BEGINS = "the database does not answer: connection refused Is the server running?"
NEVER = 3600.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def wait_for(lines: int, caplog: pytest.LogCaptureFixture) -> None:
    deadline = time.monotonic() + 30
    while len(caplog.messages) < lines:
        assert time.monotonic() < deadline, caplog.messages
        time.sleep(0.01)


def test_case_d4_says_in_one_line_that_it_began_and_that_it_is_over(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage(clock=clock, settle_seconds=0.01)
    for _ in range(20):
        outage.noticed(AWAY)
        clock.now += 0.5
    for _ in range(3):
        outage.over()
        clock.now += 0.5
    wait_for(2, caplog)
    outage.over()
    assert caplog.messages == [BEGINS, "the database answers again, after 10.0 s"]


def test_case_d4_repeats_it_once_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(clock=clock)
    for _ in range(300):
        outage.noticed(AWAY)
        clock.now += 0.5
    assert [line.partition(":")[0] for line in caplog.messages] == [
        "the database does not answer",
        "the database has not answered for 60 s (121 tries)",
        "the database has not answered for 120 s (241 tries)",
    ]


def test_case_d4_takes_a_database_that_comes_and_goes_for_one_outage(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage(clock=clock, settle_seconds=NEVER)
    for _ in range(150):
        outage.noticed(AWAY)
        clock.now += 0.5
        outage.over()
        clock.now += 0.5
    assert [line.partition(":")[0] for line in caplog.messages] == [
        "the database does not answer",
        "the database has not answered for 60 s (61 tries)",
        "the database has not answered for 120 s (121 tries)",
    ]


def test_case_d4_is_not_over_when_a_try_fails_after_one_that_succeeded(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(settle_seconds=0.05)
    outage.noticed(AWAY)
    outage.over()
    outage.noticed(AWAY)
    time.sleep(0.2)
    assert caplog.messages == [BEGINS]
    outage.over()
    wait_for(2, caplog)


def test_case_d4_counts_each_outage_from_its_own_beginning(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(clock=clock, settle_seconds=0.01)
    for number, seconds in enumerate((3.0, 7.0), start=1):
        outage.noticed(AWAY)
        clock.now += seconds
        outage.over()
        wait_for(2 * number, caplog)
    assert caplog.messages == [
        BEGINS, "the database answers again, after 3.0 s", BEGINS, "the database answers again, after 7.0 s",
    ]  # fmt: skip


def test_case_d4_says_nothing_of_a_database_that_answers(caplog: pytest.LogCaptureFixture) -> None:
    Outage(settle_seconds=0).over()
    assert caplog.messages == []


def test_case_d4_says_it_once_for_all_threads(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(settle_seconds=0.01)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(outage.noticed, [AWAY] * 400))
        list(pool.map(lambda _: outage.over(), range(400)))
    wait_for(2, caplog)
    assert len(caplog.messages) == 2
