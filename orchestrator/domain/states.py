"""The states of operations and instances, and the transitions between them.

The database enforces the same transitions with triggers (orchestrator/sql/migrations). A test compares both.
"""

from enum import StrEnum


class OperationStatus(StrEnum):
    """The state of an operation."""

    QUEUED = "queued"
    """The operation waits for a worker."""
    RUNNING = "running"
    """A worker holds its lease and carries it out."""
    CLEANING = "cleaning"
    """The operation failed or was cancelled, and is being undone."""
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
"""`running -> queued` is taken only when a lost worker's operation is resumed, a leaving worker hands it over, or its
publish is put off."""


class InstanceStatus(StrEnum):
    """The state of an instance."""

    PROVISIONING = "provisioning"
    READY = "ready"
    """A player can join, or the dev container answers."""
    STOPPING = "stopping"
    """It is being stopped, so no player can count on it. A stop that fails is tried again until it is stopped."""
    STOPPED = "stopped"
    """It does not run, and no player is sent to it."""
    FAILED = "failed"
    """Its order failed. Nothing of it is left, or `cleanup.leaked` says what is."""
    QUARANTINED = "quarantined"
    """Its order failed, and its machine is kept for the customer to look at."""
    DELETING = "deleting"


INSTANCE_TRANSITIONS: dict[InstanceStatus, frozenset[InstanceStatus]] = {
    InstanceStatus.PROVISIONING: frozenset({InstanceStatus.READY, InstanceStatus.FAILED, InstanceStatus.QUARANTINED}),
    InstanceStatus.READY: frozenset({InstanceStatus.STOPPING, InstanceStatus.STOPPED, InstanceStatus.DELETING}),
    InstanceStatus.STOPPING: frozenset({InstanceStatus.STOPPED, InstanceStatus.READY, InstanceStatus.DELETING}),
    InstanceStatus.STOPPED: frozenset({InstanceStatus.STOPPING, InstanceStatus.READY, InstanceStatus.DELETING}),
    InstanceStatus.FAILED: frozenset({InstanceStatus.DELETING}),
    InstanceStatus.QUARANTINED: frozenset({InstanceStatus.PROVISIONING, InstanceStatus.DELETING}),
    InstanceStatus.DELETING: frozenset(),
}
"""A deleted instance has no state: it is archived with its history, so that its VMID is free again."""


class PhaseStatus(StrEnum):
    """The state of a phase."""

    PENDING = "pending"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
