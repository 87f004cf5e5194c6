"""What a task of ours hands back to Ansible: the failure with a code, and the wait that is not over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.domain.errors import Code

RETRY_DELAY = 0.5
"""Seconds until a change of which nobody knows whether it happened is looked at again."""


class PhaseError(Exception):
    """Ends the task as failed.

    `code` is one of the error codes of a failed operation, `message` one sentence with cause and remedy,
    `detail` small facts for a person who debugs. `changed` says whether the task had changed something. `more` are
    further members of the task's result.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        changed: bool = False,
        more: Mapping[str, Any] | None = None,
        **detail: object,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.changed = changed
        self.more = dict(more or {})
        self.detail: dict[str, Any] = dict(detail)

    def as_result(self) -> dict[str, Any]:
        # `done` ends an `until` loop at once: what is known to fail is not tried again.
        return {
            **self.more,
            "failed": True,
            "done": True,
            "changed": self.changed,
            "code": self.code.value,
            "msg": self.message,
            "detail": self.detail,
        }


class LaterError(PhaseError):
    """The same may work later, from the time `at` (of time.monotonic) on: whoever tries again reads first.

    `asked` says that the other side named the time. Else a change may have happened, and reading again will tell.
    """

    def __init__(self, code: Code, message: str, *, at: float, asked: bool, **more: Any) -> None:
        super().__init__(code, message, **more)
        self.at = at
        self.asked = asked


def refusal_of(
    code: Code,
    who: str,
    words: str,
    remedy: str,
    *,
    left_alone: float | None = None,
    unsure: bool = False,
    **detail: object,
) -> PhaseError:
    """What a provider or proxy said, under its name; in place of the remedy, until when it wants to be left alone.

    `left_alone` are the seconds that it named, and `unsure` says that a change may have happened.
    """
    if left_alone is not None:
        until = datetime.now(UTC) + timedelta(seconds=left_alone)
        remedy = f"it wants to be left alone until {until:%Y-%m-%d %H:%M:%S} UTC"
    sentence = f"{who}: {words.rstrip('.')}" + (f"; {remedy}" if remedy else "")
    facts: dict[str, Any] = {**detail, "answer": words}
    if left_alone is None and not unsure:
        return PhaseError(code, sentence, **facts)
    at = time.monotonic() + (RETRY_DELAY if left_alone is None else left_alone)
    return LaterError(code, sentence, at=at, asked=left_alone is not None, changed=unsure, **facts)


def join_failures(failures: Sequence[PhaseError], code: Code, **more: Any) -> PhaseError:
    """One error for several. It is worth another try only when each of them is, and not before the last of them is."""
    message = "; ".join(failure.message for failure in failures)
    later = [failure for failure in failures if isinstance(failure, LaterError)]
    if len(later) < len(failures):
        return PhaseError(code, message, **more)
    at, asked = max(failure.at for failure in later), any(failure.asked for failure in later)
    return LaterError(code, message, at=at, asked=asked, **more)


def until_known(change: Callable[[], bool], *, timeout: float, quiet: float) -> bool:
    """What `change` returns, which reads first. While it may or may not have happened, it is called again.

    So a change is judged by what is there afterwards, also once when it has used up all the time itself. Raises the
    LaterError after `timeout` seconds, and at once when the other side wants to be left alone for more than `quiet`
    seconds.
    """
    deadline, perhaps = time.monotonic() + timeout, False
    while True:
        looked_again = perhaps
        try:
            return change() or perhaps
        except LaterError as later:
            pause = max(later.at - time.monotonic(), 0)
            later.changed = perhaps = perhaps or later.changed
            is_over = later.at >= deadline and (later.asked or looked_again)
            if is_over or (later.asked and pause > quiet):
                raise
            time.sleep(pause)


def waiting(code: Code, message: str, *, progress: str, **detail: object) -> dict[str, Any]:
    """The window of a waiting task has passed; `code` and `message` count if it was the last one."""
    return {
        "changed": False,
        "done": False,
        "code": code.value,
        "msg": message,
        "progress": progress,
        "detail": detail,
    }
