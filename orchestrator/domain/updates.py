"""What a run tells of an operation, on its way into the database: each an item of the lease's queue."""

from dataclasses import dataclass

from orchestrator.domain.models import Cleanup
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import PhaseStatus


@dataclass(frozen=True)
class PhaseEntered:
    """A phase begins; the one before it is done."""

    phase: Phase
    message: str


@dataclass(frozen=True)
class Logged:
    """A line for the operation's log."""

    phase: Phase | None
    level: str
    message: str


@dataclass(frozen=True)
class Retried:
    """A waiting phase asked again, for the `retries`th time."""

    phase: Phase
    retries: int


@dataclass(frozen=True)
class PhasesClosed:
    """Every phase that runs has ended so."""

    status: PhaseStatus


@dataclass(frozen=True)
class CloneBegun:
    """Proxmox runs the clone as this task."""

    upid: str
    message: str


@dataclass(frozen=True)
class CleanupRecorded:
    """A cleanup has come so far."""

    cleanup: Cleanup


@dataclass(frozen=True)
class PublicationsRecorded:
    """These are about to be published."""

    publications: tuple[Publication, ...]


@dataclass(frozen=True)
class PublicationsStruck:
    """These are published no longer."""

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
"""What an event of a run becomes in the database."""
