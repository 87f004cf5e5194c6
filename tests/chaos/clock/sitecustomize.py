"""Makes the wall clock of a process wrong by CHAOS_CLOCK_OFFSET seconds, from the epoch's second CHAOS_CLOCK_FROM on.

With CHAOS_CLOCK_FLAG it is wrong only while there is a file of that name.

Its monotonic clock stays right, as in life.

Python imports a module of this name at its start when the directory is on PYTHONPATH.
"""

import datetime
import os
import time
from pathlib import Path
from typing import Any

_OFFSET = int(os.environ.get("CHAOS_CLOCK_OFFSET", "0"))
_FROM = float(os.environ.get("CHAOS_CLOCK_FROM", "0"))
_FLAG = Path(os.environ.get("CHAOS_CLOCK_FLAG", "/"))
_right_time, _right_time_ns = time.time, time.time_ns
_Right = datetime.datetime


class _Kind(type(_Right)):  # type: ignore[misc]
    """Counts what the right class has made as one of ours."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Right)


class _Wrong(_Right, metaclass=_Kind):
    """A datetime whose present time is wrong."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return _Right.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> Any:
        return _Right.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)


_Wrong.__name__ = _Wrong.__qualname__ = "datetime"
_Wrong.__module__ = "datetime"


def _find_offset() -> int:
    return _OFFSET if _right_time() >= _FROM and _FLAG.exists() else 0


time.time = lambda: _right_time() + _find_offset()
time.time_ns = lambda: _right_time_ns() + _find_offset() * 1_000_000_000
datetime.datetime = _Wrong  # type: ignore[misc]
