"""Deciding about an order: pure, and tested without a database.

A decision is written only if the customer's revision is still the one of its facts; else it is made again.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from orchestrator.errors import Problem, ProblemCode

BILLING_REFUSALS: dict[str, tuple[ProblemCode, str]] = {
    "past_due": (
        ProblemCode.PAYMENT_REQUIRED,
        "an invoice is past due: new servers can be ordered after it is paid",
    ),
    "overdue_warning": (
        ProblemCode.PAYMENT_REQUIRED,
        "an invoice is overdue: new servers can be ordered after it is paid",
    ),
    "suspended": (
        ProblemCode.CUSTOMER_SUSPENDED,
        "the account is suspended: it may read but not order; settle it with support",
    ),
    "retained": (
        ProblemCode.CUSTOMER_SUSPENDED,
        "the account is closed and its data retained: it cannot order",
    ),
    "pending_deletion": (ProblemCode.CUSTOMER_SUSPENDED, "the account is being deleted: it cannot order"),
}
"""Why a billing state refuses an order; a state that is not here may order."""


@dataclass(frozen=True)
class Demand:
    """What an order asks for, as far as the decision needs it."""

    key: str | None
    request_hash: bytes
    ctype: str
    memory_mib: int
    cpu_cores: int


@dataclass(frozen=True)
class Facts:
    """What stands in the database, in one snapshot. `revision` changes with every order of the customer."""

    revision: int
    billing_state: str
    max_instances: int
    max_memory_mib: int
    max_cpu_cores: int
    key_operation: UUID | None
    key_hash: bytes | None
    active_operation: UUID | None
    active_hash: bytes | None
    used_instances: int
    used_memory_mib: int
    used_cpu_cores: int


@dataclass(frozen=True)
class Decision:
    """Accept the order, or answer with an operation that is there already."""

    kind: Literal["accept", "replay", "active"]
    operation_id: UUID | None = None


def request_hash(request: dict[str, Any]) -> bytes:
    """SHA-256 of a validated order: the same order is the same hash, however it was spelled."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, ensure_ascii=True).encode()).digest()


def decide(demand: Demand, facts: Facts) -> Decision:
    """What becomes of an order.

    A replay comes first: a customer who repeats a key gets its answer whatever has changed since. Raises Problem when
    the order is refused.
    """
    if facts.key_operation is not None:
        if facts.key_hash != demand.request_hash:
            raise Problem(
                ProblemCode.IDEMPOTENCY_KEY_REUSED,
                "this Idempotency-Key was used with another body: send a new key with a new order",
                {"operationId": str(facts.key_operation)},
            )
        return Decision("replay", facts.key_operation)
    refusal = BILLING_REFUSALS.get(facts.billing_state)
    if refusal is not None:
        raise Problem(*refusal)
    if demand.key is None and facts.active_operation is not None:
        return _meet_active(demand, facts, facts.active_operation)
    _check_quota(demand, facts)
    return Decision("accept")


def decide_retry(demand: Demand, facts: Facts) -> None:
    """Whether a kept machine may count again. Raises Problem when it may not."""
    refusal = BILLING_REFUSALS.get(facts.billing_state)
    if refusal is not None:
        raise Problem(*refusal)
    _check_quota(demand, facts)


def _meet_active(demand: Demand, facts: Facts, active: UUID) -> Decision:
    if facts.active_hash == demand.request_hash:
        return Decision("active", active)
    raise Problem(
        ProblemCode.CREATE_IN_PROGRESS,
        f"another {demand.ctype} order is in progress: wait for it, or send an Idempotency-Key to order in parallel",
        {"operationId": str(active)},
    )


def _check_quota(demand: Demand, facts: Facts) -> None:
    wanted = {
        "instances": (facts.used_instances, 1, facts.max_instances),
        "memoryMiB": (facts.used_memory_mib, demand.memory_mib, facts.max_memory_mib),
        "cpuCores": (facts.used_cpu_cores, demand.cpu_cores, facts.max_cpu_cores),
    }
    for name, (used, asked, limit) in wanted.items():
        if used + asked > limit:
            raise Problem(
                ProblemCode.QUOTA_EXCEEDED,
                f"the quota of {name} is {limit}, {used} are in use and the order needs {asked}: "
                "delete a server or ask for a larger quota",
                {"resource": name, "limit": limit, "used": used, "requested": asked},
            )
