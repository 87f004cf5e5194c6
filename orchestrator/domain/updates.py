"""The updates of an operation that a run causes. The lease's queue holds them until they are in the database."""

from dataclasses import dataclass

from orchestrator.domain.models import Cleanup
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import PhaseStatus


@dataclass(frozen=True)
class PhaseEntered:
    """A phase begins, so the one before it is done."""

    phase: Phase
    message: str


@dataclass(frozen=True)
class Logged:
    """The operation's log gets a line."""

    phase: Phase | None
    level: str
    message: str


@dataclass(frozen=True)
class Retried:
    """A phase that waits for something has asked again. `retries` counts how often."""

    phase: Phase
    retries: int


@dataclass(frozen=True)
class PhasesClosed:
    """Every running phase has ended with this status."""

    status: PhaseStatus


@dataclass(frozen=True)
class CloneBegun:
    """Proxmox has begun the clone, as the task `upid`."""

    upid: str
    message: str


@dataclass(frozen=True)
class CleanupRecorded:
    """A cleanup has made progress."""

    cleanup: Cleanup


@dataclass(frozen=True)
class PublicationsRecorded:
    """These publications are about to be made."""

    publications: tuple[Publication, ...]


@dataclass(frozen=True)
class PublicationsStruck:
    """These publications have been taken back."""

    publications: tuple[Publication, ...]


Update = (
    PhaseEntered
    | Logged
    | Retried
    | PhasesClosed
    | CloneBegun
    | CleanupRecorded
    | PublicationsRecorded
    | PublicationsStruck
)
"""Any update."""
