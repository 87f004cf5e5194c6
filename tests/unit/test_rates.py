"""Token buckets, with a clock of the test's own."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.http import rates
from orchestrator.api.http.limits import neighbourhood
from orchestrator.api.http.rates import Buckets, Rate, Wait

TWO = Rate(2, 3)


def test_lets_a_burst_through_and_then_the_rate() -> None:
    buckets = Buckets()
    assert [buckets.take("a", TWO, now=0) for _ in range(3)] == [None] * 3
    assert buckets.take("a", TWO, now=0) == Wait(1, first=True)
    assert buckets.take("a", TWO, now=0.4) == Wait(1, first=False)
    assert buckets.take("a", TWO, now=0.5) is None
    assert buckets.take("a", TWO, now=0.5) == Wait(1, first=True)
    assert [buckets.take("a", TWO, now=100) for _ in range(4)].count(None) == 3


def test_keeps_those_who_ask_apart() -> None:
    buckets = Buckets()
    assert [buckets.take(who, Rate(1, 1), now=0) for who in ("a", "b", "a")] == [None, None, Wait(1, first=True)]


def test_says_how_long_to_wait_in_whole_seconds() -> None:
    buckets = Buckets()
    slow = Rate(0.1, 1)
    assert buckets.take("a", slow, now=0) is None
    assert buckets.take("a", slow, now=0) == Wait(10, first=True)
    assert buckets.take("a", slow, now=9.5) == Wait(1, first=False)
    assert buckets.take("a", slow, now=10) is None


def test_has_no_limit_at_zero() -> None:
    buckets = Buckets()
    assert {buckets.take("a", Rate(0, 1), now=0) for _ in range(100)} == {None}


def test_gives_back_what_does_not_count() -> None:
    buckets = Buckets()
    one = Rate(1, 1)
    for _ in range(3):
        taken = buckets.take("a", one, now=0)
        assert taken is None
        buckets.give_back("a", one, taken)
    assert buckets.take("a", one, now=0) is None
    for _ in range(2):
        refused = buckets.take("a", one, now=0)
        assert refused == Wait(1, first=True)
        buckets.give_back("a", one, refused)
    assert buckets.take("a", one, now=1) is None
    buckets.give_back("b", one, None)
    assert buckets.take("b", one, now=0) is None


def test_takes_no_harm_from_a_clock_that_goes_back() -> None:
    buckets = Buckets()
    assert buckets.take("a", Rate(1, 1), now=100) is None
    assert buckets.take("a", Rate(1, 1), now=50) is not None


def test_forgets_those_that_were_not_there_for_longest() -> None:
    buckets = Buckets()
    for number in range(rates._MAX_BUCKETS + 1):
        buckets.take(number, Rate(1, 1), now=number)
    assert len(buckets._buckets) <= rates._MAX_BUCKETS
    assert buckets.take(rates._MAX_BUCKETS, Rate(1, 1), now=rates._MAX_BUCKETS) is not None


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=60), st.integers(1, 5), st.integers(1, 10))
def test_never_lets_more_through_than_burst_and_rate(pauses: list[float], per_second: int, burst: int) -> None:
    buckets, rate = Buckets(), Rate(per_second, burst)
    times = list(accumulate(pauses))
    through = [at for at in times if buckets.take("a", rate, now=at) is None]
    for start in through:
        for end in through:
            if start <= end:
                most = burst + (end - start) * per_second + 1e-6
                assert sum(start <= at <= end for at in through) <= most


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
        ("192.0.2.7", "192.0.2.7"),
        (None, None),
    ],
)
def test_takes_a_whole_network_of_ipv6_for_one_stranger(address: str | None, whose: str | None) -> None:
    assert neighbourhood(address) == whose
