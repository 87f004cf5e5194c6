"""Deciding about an order: pure, and tested without a database.

A decision is written only if the customer's revision is still the one of its facts; else it is made again.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from orchestrator.domain.billing import Action, BillingState, refuse
from orchestrator.domain.errors import Problem, ProblemCode

MAX_FAILED = 100
"""Failed and cancelled servers of one customer that were not deleted: they count in no quota, and each is a row."""
MAX_KEPT = 3
"""Machines of one customer that are kept at once: they run outside the quota, so something else has to bound them."""


@dataclass(frozen=True)
class Demand:
    """What an order asks for, as far as the decision needs it."""

    key: str | None
    request_hash: bytes
    ctype: str
    memory_mib: int
    cpu_cores: int
    keep: bool = False
    """Whether its machine is to be kept when it fails."""


@dataclass(frozen=True)
class Facts:
    """What stands in the database, in one snapshot. `revision` changes with every order of the customer.

    Names with `ctype` are about the container type that is ordered; a limit of None is none.
    """

    revision: int
    billing_state: BillingState
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
    max_ctype_instances: int | None
    max_ctype_memory_mib: int | None
    max_ctype_cpu_cores: int | None
    used_ctype_instances: int
    used_ctype_memory_mib: int
    used_ctype_cpu_cores: int
    failed: int = 0
    """Failed and cancelled servers, counted no further than the limit."""
    kept: int = 0
    """Machines that are kept for a look, or may come to be; counted only for an order that is to be kept."""


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
    refusal = refuse(BillingState(facts.billing_state), Action.ORDER)
    if refusal is not None:
        raise refusal
    if demand.key is None and facts.active_operation is not None:
        return _meet_active(demand, facts, facts.active_operation)
    check_quota(demand, facts)
    _check_leftovers(demand, facts)
    return Decision("accept")


def _meet_active(demand: Demand, facts: Facts, active: UUID) -> Decision:
    if facts.active_hash == demand.request_hash:
        return Decision("active", active)
    raise Problem(
        ProblemCode.CREATE_IN_PROGRESS,
        f"another {demand.ctype} order is in progress: wait for it, or send an Idempotency-Key to order in parallel",
        {"operationId": str(active)},
    )


def check_quota(demand: Demand, facts: Facts) -> None:
    """Whether there is room for it: the limits in total first, then those of the container type. Raises Problem."""
    wanted = {"instances": 1, "memoryMiB": demand.memory_mib, "cpuCores": demand.cpu_cores}
    total = (
        (facts.used_instances, facts.max_instances),
        (facts.used_memory_mib, facts.max_memory_mib),
        (facts.used_cpu_cores, facts.max_cpu_cores),
    )
    own = (
        (facts.used_ctype_instances, facts.max_ctype_instances),
        (facts.used_ctype_memory_mib, facts.max_ctype_memory_mib),
        (facts.used_ctype_cpu_cores, facts.max_ctype_cpu_cores),
    )
    for ctype, amounts in ((None, total), (demand.ctype, own)):
        for (resource, asked), (used, limit) in zip(wanted.items(), amounts, strict=True):
            if limit is not None and used + asked > limit:
                of_type = f" of {ctype} servers" if ctype else ""
                raise _exceeded(
                    f"the quota of {resource}{of_type} is {limit}, {used} are in use and the order needs {asked}: "
                    "delete a server or ask for a larger quota",
                    resource, limit=limit, used=used, ctype=ctype, asked=asked,
                )  # fmt: skip


def _check_leftovers(demand: Demand, facts: Facts) -> None:
    """What counts in no quota is bounded too. Raises Problem."""
    if facts.failed >= MAX_FAILED:
        raise _exceeded(
            f"{facts.failed} failed or cancelled servers stand in the list, and {MAX_FAILED} is the most: "
            "delete some of them",
            "failedInstances", limit=MAX_FAILED, used=facts.failed,
        )  # fmt: skip
    if demand.keep and facts.kept >= MAX_KEPT:
        raise _exceeded(
            f"{facts.kept} machines are kept for a look or may come to be, and {MAX_KEPT} is the most: "
            "delete or retry one of them, or order without onFailure: keep",
            "keptInstances", limit=MAX_KEPT, used=facts.kept,
        )  # fmt: skip


def _exceeded(
    sentence: str, resource: str, *, limit: int, used: int, ctype: str | None = None, asked: int = 1
) -> Problem:
    extra = {"resource": resource, "ctype": ctype, "limit": limit, "used": used, "requested": asked}
    return Problem(ProblemCode.QUOTA_EXCEEDED, sentence, extra)
