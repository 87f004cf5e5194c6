"""The states of operations and instances, and the transitions between them.

The database enforces the same transitions with triggers (sql/migrations); a test holds both together.
"""

from enum import StrEnum


class OperationStatus(StrEnum):
    """Where an operation is."""

    QUEUED = "queued"
    """Accepted, waiting for a worker."""
    RUNNING = "running"
    """A worker holds its lease and runs its playbook."""
    CLEANING = "cleaning"
    """It failed or was cancelled; what it made is being removed."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPERATION_FINAL = frozenset({OperationStatus.SUCCEEDED, OperationStatus.FAILED, OperationStatus.CANCELLED})

OPERATION_TRANSITIONS: dict[OperationStatus, frozenset[OperationStatus]] = {
    OperationStatus.QUEUED: frozenset({OperationStatus.RUNNING, OperationStatus.CANCELLED, OperationStatus.FAILED}),
    OperationStatus.RUNNING: frozenset(
        {
            OperationStatus.SUCCEEDED,
            OperationStatus.FAILED,
            OperationStatus.CANCELLED,
            OperationStatus.CLEANING,
            OperationStatus.QUEUED,
        }
    ),
    OperationStatus.CLEANING: frozenset({OperationStatus.FAILED, OperationStatus.CANCELLED}),
    OperationStatus.SUCCEEDED: frozenset(),
    OperationStatus.FAILED: frozenset(),
    OperationStatus.CANCELLED: frozenset(),
}
"""`running -> queued` is only taken as a fenced resume."""


class InstanceStatus(StrEnum):
    """Where an instance is."""

    PROVISIONING = "provisioning"
    READY = "ready"
    """A player can join, or the dev container answers."""
    STOPPED = "stopped"
    FAILED = "failed"
    """Its provision failed; nothing of it is left, or `cleanup.leaked` says what."""
    QUARANTINED = "quarantined"
    DELETING = "deleting"


INSTANCE_TRANSITIONS: dict[InstanceStatus, frozenset[InstanceStatus]] = {
    InstanceStatus.PROVISIONING: frozenset({InstanceStatus.READY, InstanceStatus.FAILED, InstanceStatus.QUARANTINED}),
    InstanceStatus.READY: frozenset({InstanceStatus.STOPPED, InstanceStatus.DELETING}),
    InstanceStatus.STOPPED: frozenset({InstanceStatus.READY, InstanceStatus.DELETING}),
    InstanceStatus.FAILED: frozenset({InstanceStatus.DELETING}),
    InstanceStatus.QUARANTINED: frozenset({InstanceStatus.PROVISIONING, InstanceStatus.DELETING}),
    InstanceStatus.DELETING: frozenset(),
}
"""A deleted instance has no row here any more: it is archived with its history, so that its VMID is free again."""


class PhaseStatus(StrEnum):
    """Where a phase is."""

    PENDING = "pending"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
