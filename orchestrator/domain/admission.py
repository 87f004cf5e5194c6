"""Decides whether an order is accepted. The functions are pure and need no database.

The store writes a decision only while the customer still has the revision that the facts name. Otherwise it reads the
facts again, and the order is decided again.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from orchestrator.domain.billing import Action, BillingState, refuse
from orchestrator.domain.errors import Problem, ProblemCode

MAX_FAILED = 100
"""How many failed and cancelled servers a customer may leave undeleted. They count in no quota, but each is a row."""
MAX_KEPT = 3
"""How many machines of one customer are kept at once. They run outside the quota, so they need a limit of their own."""


@dataclass(frozen=True)
class Demand:
    """The parts of an order that the decision needs."""

    key: str | None
    request_hash: bytes
    ctype: str
    memory_mib: int
    cpu_cores: int
    keep: bool = False
    """Whether the machine is kept when the order fails."""
    body_hash: bytes | None = None
    """The hash of the body as it was sent. `request_hash` is that of the order, with the catalogue's defaults."""


@dataclass(frozen=True)
class Facts:
    """What the database holds about the customer, read in one snapshot.

    `revision` changes with every order of the customer. Fields with `ctype` in their names count only the container
    type that is ordered. A limit of None means that there is no limit.
    """

    revision: int
    billing_state: BillingState | str
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
    """How many failed and cancelled servers there are. The count ends at MAX_FAILED."""
    kept: int = 0
    """How many machines are kept, or will be if their orders fail. They are counted only for an order with `keep`."""
    key_body_hash: bytes | None = None
    """The hash of the body that the key came with. Rows of an earlier release have that of the order instead."""


@dataclass(frozen=True)
class Decision:
    """Whether the order is accepted, or answered with an operation that exists already."""

    kind: Literal["accept", "replay", "active"]
    operation_id: UUID | None = None


def request_hash(request: dict[str, Any]) -> bytes:
    """Return the SHA-256 of an order or a body. The order of its members makes no difference."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, ensure_ascii=True).encode()).digest()


def decide(demand: Demand, facts: Facts) -> Decision:
    """Decide what happens to an order. Raises Problem when it is refused.

    The idempotency key is looked at first, so that a customer who repeats a key gets the first answer, whatever has
    changed since.
    """
    if facts.key_operation is not None:
        same_body = demand.body_hash is not None and facts.key_body_hash == demand.body_hash
        if not same_body and facts.key_hash != demand.request_hash:
            raise Problem(
                ProblemCode.IDEMPOTENCY_KEY_REUSED,
                "this Idempotency-Key was used with another body: send a new key with a new order",
                {"operationId": str(facts.key_operation)},
            )
        return Decision("replay", facts.key_operation)
    refusal = refuse(facts.billing_state, Action.ORDER)
    if refusal is not None:
        raise refusal
    if demand.key is None and facts.active_operation is not None:
        return _answer_with_active(demand, facts, facts.active_operation)
    check_quota(demand, facts)
    _check_leftovers(demand, facts)
    return Decision("accept")


def _answer_with_active(demand: Demand, facts: Facts, active: UUID) -> Decision:
    """Answer an order without a key while another one is active. Raises Problem unless both ask for the same."""
    if facts.active_hash == demand.request_hash:
        return Decision("active", active)
    raise Problem(
        ProblemCode.CREATE_IN_PROGRESS,
        f"another {demand.ctype} order is in progress: wait for it, or send an Idempotency-Key to order in parallel",
        {"operationId": str(active)},
    )


def check_quota(demand: Demand, facts: Facts) -> None:
    """Check the order against the limits in total, then against those of its container type. Raises Problem."""
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
                raise _make_quota_problem(
                    f"the quota of {resource}{of_type} is {limit}, {used} are in use and the order needs {asked}: "
                    "delete a server or ask for a larger quota",
                    resource, limit=limit, used=used, ctype=ctype, asked=asked,
                )  # fmt: skip


def _check_leftovers(demand: Demand, facts: Facts) -> None:
    """Check the limits of what counts in no quota. Raises Problem."""
    if facts.failed >= MAX_FAILED:
        raise _make_quota_problem(
            f"{facts.failed} failed or cancelled servers are still listed, and at most {MAX_FAILED} are allowed: "
            "delete some of them",
            "failedInstances", limit=MAX_FAILED, used=facts.failed,
        )  # fmt: skip
    if demand.keep and facts.kept >= MAX_KEPT:
        raise _make_quota_problem(
            f"{facts.kept} machines are kept or will be if their orders fail, and at most {MAX_KEPT} are allowed: "
            "delete or retry one of them, or order without onFailure: keep",
            "keptInstances", limit=MAX_KEPT, used=facts.kept,
        )  # fmt: skip


def _make_quota_problem(
    sentence: str, resource: str, *, limit: int, used: int, ctype: str | None = None, asked: int = 1
) -> Problem:
    extra = {"resource": resource, "ctype": ctype, "limit": limit, "used": used, "requested": asked}
    return Problem(ProblemCode.QUOTA_EXCEEDED, sentence, extra)
