"""Token buckets, which bound how often somebody may ask. The clock is passed in.

Each process counts for itself: with N processes behind one address, N times as much gets through.
"""

import math
import threading
from collections.abc import Hashable
from dataclasses import dataclass

_MAX_BUCKETS = 10_000


@dataclass(frozen=True)
class Rate:
    """The requests a second in the long run, and how many at once. 0 a second means no limit."""

    per_second: float
    burst: int

    def times(self, factor: int) -> "Rate":
        """A rate that is larger by a factor."""
        return Rate(self.per_second * factor, self.burst * factor)


@dataclass
class _Bucket:
    level: float
    at: float
    refusing: bool = False


@dataclass(frozen=True)
class Wait:
    """How many seconds to wait. `first` tells whether this is the first of a row of refusals."""

    seconds: int
    first: bool


class Buckets:
    """A bucket for each of those who ask.

    When there are too many, the half that was not used for longest is forgotten, because it is full again anyway.
    """

    def __init__(self) -> None:
        """Begin with no bucket; each is made full when it is first used."""
        self._buckets: dict[Hashable, _Bucket] = {}
        self._lock = threading.Lock()

    def take(self, who: Hashable, rate: Rate, *, now: float) -> Wait | None:
        """Take one request from a bucket. Returns None, or how long to wait when the bucket is empty."""
        if rate.per_second == 0:
            return None
        with self._lock:
            bucket = self._fill(who, rate, now)
            if bucket.level < 1:
                first, bucket.refusing = not bucket.refusing, True
                return Wait(_seconds(bucket, rate), first)
            bucket.level -= 1
            bucket.refusing = False
            return None

    def give_back(self, who: Hashable, rate: Rate, wait: Wait | None) -> None:
        """Undo a `take`, whose result was `wait`, because the request does not count."""
        with self._lock:
            bucket = self._buckets.get(who)
            if bucket is None:
                return
            if wait is None:
                bucket.level = min(rate.burst, bucket.level + 1)
            elif wait.first:
                bucket.refusing = False

    def _fill(self, who: Hashable, rate: Rate, now: float) -> _Bucket:
        bucket = self._buckets.get(who)
        if bucket is None:
            if len(self._buckets) >= _MAX_BUCKETS:
                self._drop()
            bucket = self._buckets[who] = _Bucket(rate.burst, now)
        bucket.level = min(rate.burst, bucket.level + max(0.0, now - bucket.at) * rate.per_second)
        bucket.at = now
        return bucket

    def _drop(self) -> None:
        """Forget the half of the buckets that was not used for longest."""
        oldest = sorted(self._buckets, key=lambda who: self._buckets[who].at)
        for who in oldest[: len(oldest) // 2]:
            del self._buckets[who]


def _seconds(bucket: _Bucket, rate: Rate) -> int:
    return max(1, math.ceil((1 - bucket.level) / rate.per_second))
