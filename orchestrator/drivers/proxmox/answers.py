"""What an answer of Proxmox means, and whether it ends a phase: one table, by what was asked and what was answered.

Texts name an error, for its code and its sentence. They end a phase only where they are known to last; every other
text is met by looking again. The wording was observed on PVE 9.2; it stands in the HTTP reason phrase.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.domain.errors import Code


class Verb(StrEnum):
    """What the answer is to."""

    READ = "read"
    CHANGE = "change"  # a request that changes something
    TASK = "task"  # the exitstatus of a task that ended


class Next(StrEnum):
    """What follows. Looking again means: what is there is read, and only what is missing is asked for once more."""

    AGAIN = "again"
    WHILE = "again for a while"  # once the token has worked
    ANSWER = "the answer"
    END = "ends the phase"


class Kind(StrEnum):
    """What an error means, whatever the request was."""

    UNREACHABLE = "unreachable"  # no answer, or one that says nothing about the container
    LOCKED = "locked"  # another task holds the container
    OUTDATED = "outdated"  # the container is not in the state we assumed: read it again
    UNKNOWN = "unknown"  # a failure with any other text
    UNAUTHENTICATED = "unauthenticated"  # also while the cluster's file system is away
    MISSING = "missing"  # the container does not exist
    TAKEN = "taken"  # the VMID exists
    REFUSED = "refused"  # for a reason that lasts; the text says which
    FULL = "full"
    DENIED = "denied"
    UNTRUSTED = "untrusted"  # the server's certificate does not verify


@dataclass(frozen=True)
class Rule:
    """What follows on one kind of error, by what was asked."""

    read: Next
    change: Next
    task: Next

    def __getitem__(self, verb: Verb) -> Next:
        return {Verb.READ: self.read, Verb.CHANGE: self.change, Verb.TASK: self.task}[verb]


_AGAIN = Rule(Next.AGAIN, Next.AGAIN, Next.AGAIN)
_END = Rule(Next.END, Next.END, Next.END)

RULES: Mapping[Kind, Rule] = {
    Kind.UNREACHABLE: _AGAIN,
    Kind.LOCKED: _AGAIN,
    Kind.OUTDATED: _AGAIN,
    Kind.UNKNOWN: _AGAIN,
    Kind.UNAUTHENTICATED: Rule(Next.WHILE, Next.WHILE, Next.WHILE),
    Kind.MISSING: Rule(Next.ANSWER, Next.AGAIN, Next.AGAIN),
    Kind.TAKEN: Rule(Next.ANSWER, Next.END, Next.END),
    Kind.REFUSED: _END,
    Kind.FULL: _END,
    Kind.DENIED: _END,
    Kind.UNTRUSTED: _END,
}
"""docs/errors.md has the same table, with the reasons."""

CODES: Mapping[Kind, Code] = {
    Kind.UNREACHABLE: Code.PROXMOX_UNREACHABLE,
    Kind.LOCKED: Code.CLONE_LOCKED,
    Kind.OUTDATED: Code.PROXMOX_TASK_FAILED,
    Kind.UNKNOWN: Code.PROXMOX_TASK_FAILED,
    Kind.UNAUTHENTICATED: Code.PROXMOX_DENIED,
    Kind.MISSING: Code.PROXMOX_TASK_FAILED,
    Kind.TAKEN: Code.VMID_TAKEN,
    Kind.REFUSED: Code.PROXMOX_TASK_FAILED,
    Kind.FULL: Code.STORAGE_FULL,
    Kind.DENIED: Code.PROXMOX_DENIED,
    Kind.UNTRUSTED: Code.PROXMOX_UNREACHABLE,
}
"""The code of a failed operation, unless the caller knows better (a missing clone source is a template)."""

_MISSING = re.compile(r"configuration file '.*' does not exist", re.IGNORECASE)
_TAKEN = re.compile(r"\b(?:CT|VM) \d+ already exists", re.IGNORECASE)
_BY_TEXT: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.TAKEN, _TAKEN),
    (Kind.MISSING, _MISSING),
    *(
        (kind, re.compile(pattern, re.IGNORECASE))
        for kind, pattern in (
            (Kind.LOCKED, r"is locked \(|can't lock file .*got timeout"),
            (
                Kind.OUTDATED,
                r"already running|not running|modified configuration|already at specified size",
            ),
            (
                Kind.UNREACHABLE,
                r"command socket|got timeout|no quorum|got no worker upid|lost connection"
                r"|ipcc_send_rec|transport endpoint is not connected|init request failed",
            ),
            (Kind.DENIED, r"permission check failed|permission denied - invalid"),
            (
                Kind.FULL,
                r"no space left|out of space|(?:not enough|insufficient) (?:free )?(?:space|extents)"
                r"|free space in thin pool|disk quota exceeded",
            ),
            (
                Kind.REFUSED,
                r"(?:storage|bridge|snapshot) '[^']*' does not exist|no such cluster node|linked clone"
                r"|only possible from a snapshot|container is running|protection mode enabled|unable to shrink disk"
                r"|read-only option|no options specified|if it's a template|does not support container directories",
            ),
        )
    ),
)

_OVERLOADED = (408, 425, 429)
_GATEWAY = (502, 503, 504)
_NOT_IMPLEMENTED = (501, 505, 506)


def classify(status: int, text: str, verb: Verb = Verb.CHANGE) -> Kind:
    """The kind of an HTTP answer, or with status 500 and Verb.TASK of a failed task's exitstatus."""
    if status in (401, 403):
        return Kind.UNAUTHENTICATED if status == 401 else Kind.DENIED
    if status in (*_OVERLOADED, *_GATEWAY) or 595 <= status <= 599:
        return Kind.UNREACHABLE
    if status < 500 or (status in _NOT_IMPLEMENTED and verb is not Verb.READ):
        return Kind.TAKEN if _TAKEN.search(text) else Kind.REFUSED
    if verb is Verb.READ:
        # Reading does no harm, and what failed to read says nothing about the container.
        return Kind.MISSING if _MISSING.search(text) else Kind.UNREACHABLE
    return next((kind for kind, pattern in _BY_TEXT if pattern.search(text)), Kind.UNKNOWN)


def is_well(exitstatus: str) -> bool:
    """Whether a task has done its work; Proxmox counts warnings, and every task of an old container has some."""
    return exitstatus == "OK" or exitstatus.startswith("WARNINGS")
