"""Changes of which nobody knows whether they happened."""

import time
from collections.abc import Callable

import pytest

from orchestrator.domain.errors import Code
from orchestrator.drivers.result import LaterError, until_known


def hanging(times: int, then: bool) -> tuple[Callable[[], bool], list[float]]:
    """A change whose request hangs so often, and then what reading finds to change."""
    looks: list[float] = []

    def change() -> bool:
        looks.append(time.monotonic())
        if len(looks) <= times:
            raise LaterError(Code.DNS_FAILED, "no answer", at=time.monotonic() + 0.06, asked=False, changed=True)
        return then

    return change, looks


def test_looks_once_more_when_the_change_has_used_up_all_the_time() -> None:
    change, looks = hanging(1, then=False)
    assert until_known(change, timeout=0.05, quiet=1), "it may have changed something"
    assert len(looks) == 2


def test_gives_up_when_looking_again_does_not_tell_either() -> None:
    change, looks = hanging(9, then=False)
    with pytest.raises(LaterError):
        until_known(change, timeout=0.05, quiet=1)
    assert len(looks) == 2
