"""What a task of ours hands back to Ansible: the failure with a code, and the wait that is not over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import Code


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
