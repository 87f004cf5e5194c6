"""What becomes of an order, decided without a database."""

from dataclasses import replace
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.admission import Decision, Demand, Facts, decide, request_hash
from orchestrator.domain.billing import Action, BillingState, refuse
from orchestrator.domain.errors import Problem, ProblemCode

KNOWN = UUID(int=1)
ACTIVE = UUID(int=2)
HASH, OTHER_HASH = b"this order", b"another order"

KEYED = Demand("key", HASH, "game", 2048, 2)
KEYLESS = replace(KEYED, key=None)
NOTHING = Facts(0, BillingState.ACTIVE, 20, 131072, 64, None, None, None, None, 0, 0, 0, None, None, None, 0, 0, 0)
REPLAYED = replace(NOTHING, key_operation=KNOWN, key_hash=HASH)
REUSED = replace(NOTHING, key_operation=KNOWN, key_hash=OTHER_HASH)
SAME_ACTIVE = replace(NOTHING, active_operation=ACTIVE, active_hash=HASH)
OTHER_ACTIVE = replace(NOTHING, active_operation=ACTIVE, active_hash=OTHER_HASH)
FULL = replace(NOTHING, used_instances=20)
KEPT = replace(KEYED, keep=True)


@pytest.mark.parametrize(
    ("demand", "facts", "decision"),
    [
        pytest.param(KEYED, NOTHING, Decision("accept"), id="first order with a key"),
        pytest.param(KEYLESS, NOTHING, Decision("accept"), id="first order without a key"),
        pytest.param(KEYED, REPLAYED, Decision("replay", KNOWN), id="same key, same body"),
        pytest.param(
            KEYED,
            replace(REPLAYED, billing_state=BillingState.SUSPENDED),
            Decision("replay", KNOWN),
            id="suspended since",
        ),
        pytest.param(KEYED, replace(REPLAYED, used_instances=20), Decision("replay", KNOWN), id="full since"),
        pytest.param(
            KEYED,
            replace(REPLAYED, active_operation=ACTIVE, active_hash=OTHER_HASH),
            Decision("replay", KNOWN),
            id="replay although another is active",
        ),
        pytest.param(KEYLESS, SAME_ACTIVE, Decision("active", ACTIVE), id="no key, same body while active"),
        pytest.param(
            KEYLESS, replace(SAME_ACTIVE, used_instances=20), Decision("active", ACTIVE), id="the active one filled it"
        ),
        pytest.param(KEYED, OTHER_ACTIVE, Decision("accept"), id="a key orders in parallel"),
        pytest.param(KEYED, SAME_ACTIVE, Decision("accept"), id="a new key is a new order, even of the same body"),
        pytest.param(KEYED, replace(NOTHING, used_instances=19), Decision("accept"), id="the last instance"),
        pytest.param(KEPT, replace(NOTHING, kept=2), Decision("accept"), id="the last kept one"),
        pytest.param(KEYED, replace(NOTHING, kept=3), Decision("accept"), id="one that is not to be kept"),
        pytest.param(KEYED, replace(NOTHING, used_memory_mib=129024), Decision("accept"), id="the last memory"),
        pytest.param(KEYED, replace(NOTHING, used_cpu_cores=62), Decision("accept"), id="the last cores"),
    ],
)
def test_decides_for_an_operation(demand: Demand, facts: Facts, decision: Decision) -> None:
    assert decide(demand, facts) == decision


@pytest.mark.parametrize(
    ("demand", "facts", "code", "extra"),
    [
        pytest.param(
            KEYED, REUSED, ProblemCode.IDEMPOTENCY_KEY_REUSED, {"operationId": str(KNOWN)}, id="same key, other body"
        ),
        pytest.param(
            KEYED,
            replace(REUSED, billing_state=BillingState.SUSPENDED),
            ProblemCode.IDEMPOTENCY_KEY_REUSED,
            {"operationId": str(KNOWN)},
            id="a reused key before the billing state",
        ),
        pytest.param(
            KEYLESS,
            OTHER_ACTIVE,
            ProblemCode.CREATE_IN_PROGRESS,
            {"operationId": str(ACTIVE)},
            id="no key, other body while active",
        ),
        pytest.param(
            KEYED,
            FULL,
            ProblemCode.QUOTA_EXCEEDED,
            {"resource": "instances", "ctype": None, "limit": 20, "used": 20, "requested": 1},
            id="no instance left",
        ),
        pytest.param(
            KEYED,
            replace(NOTHING, used_memory_mib=129025),
            ProblemCode.QUOTA_EXCEEDED,
            {"resource": "memoryMiB", "ctype": None, "limit": 131072, "used": 129025, "requested": 2048},
            id="one MiB too little",
        ),
        pytest.param(
            KEYED,
            replace(NOTHING, used_cpu_cores=63),
            ProblemCode.QUOTA_EXCEEDED,
            {"resource": "cpuCores", "ctype": None, "limit": 64, "used": 63, "requested": 2},
            id="one core too little",
        ),
        pytest.param(
            KEYED,
            replace(NOTHING, max_ctype_instances=2, used_ctype_instances=2, used_instances=2),
            ProblemCode.QUOTA_EXCEEDED,
            {"resource": "instances", "ctype": "game", "limit": 2, "used": 2, "requested": 1},
            id="no instance of the type left",
        ),
        pytest.param(
            KEYED,
            replace(NOTHING, max_ctype_memory_mib=2047),
            ProblemCode.QUOTA_EXCEEDED,
            {"resource": "memoryMiB", "ctype": "game", "limit": 2047, "used": 0, "requested": 2048},
            id="one MiB of the type too little",
        ),
        pytest.param(
            KEYED,
            replace(NOTHING, max_ctype_cpu_cores=0),
            ProblemCode.QUOTA_EXCEEDED,
            {"resource": "cpuCores", "ctype": "game", "limit": 0, "used": 0, "requested": 2},
            id="no cores of the type at all",
        ),
        pytest.param(
            KEYED,
            replace(FULL, max_ctype_instances=0),
            ProblemCode.QUOTA_EXCEEDED,
            {"resource": "instances", "ctype": None, "limit": 20, "used": 20, "requested": 1},
            id="the total before the type",
        ),
        pytest.param(
            KEYED,
            replace(NOTHING, failed=100),
            ProblemCode.QUOTA_EXCEEDED,
            {"resource": "failedInstances", "ctype": None, "limit": 100, "used": 100, "requested": 1},
            id="a hundred failed ones that nobody deleted",
        ),
        pytest.param(
            KEPT,
            replace(NOTHING, kept=3),
            ProblemCode.QUOTA_EXCEEDED,
            {"resource": "keptInstances", "ctype": None, "limit": 3, "used": 3, "requested": 1},
            id="a fourth machine that is to be kept",
        ),
        pytest.param(
            KEYED,
            replace(FULL, billing_state=BillingState.PAST_DUE),
            ProblemCode.PAYMENT_REQUIRED,
            {},
            id="the billing state before the quota",
        ),
    ],
)
def test_refuses_an_order(demand: Demand, facts: Facts, code: ProblemCode, extra: dict[str, object]) -> None:
    with pytest.raises(Problem) as refused:
        decide(demand, facts)
    assert (refused.value.code, refused.value.extra) == (code, extra)


amounts = st.integers(min_value=0, max_value=40)
limits = st.none() | amounts
hashes = st.sampled_from([HASH, OTHER_HASH])


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    key = draw(st.sampled_from([None, "key"]))
    return Demand(key, draw(hashes), "game", draw(amounts), draw(amounts))


@st.composite
def situations(draw: st.DrawFn, demand: Demand) -> Facts:
    """What the store can find: a key's operation only for an order that has a key."""
    keyed = demand.key is not None and draw(st.booleans())
    active = draw(st.booleans())
    return Facts(
        0, draw(st.sampled_from(BillingState)), draw(amounts), draw(amounts), draw(amounts),
        KNOWN if keyed else None, draw(hashes) if keyed else None,
        ACTIVE if active else None, draw(hashes) if active else None,
        draw(amounts), draw(amounts), draw(amounts),
        draw(limits), draw(limits), draw(limits),
        draw(amounts), draw(amounts), draw(amounts),
    )  # fmt: skip


def fits(demand: Demand, facts: Facts) -> bool:
    wanted = {"instances": 1, "memory_mib": demand.memory_mib, "cpu_cores": demand.cpu_cores}
    return all(
        limit is None or getattr(facts, f"used_{scope}{name}") + asked <= limit
        for name, asked in wanted.items()
        for scope in ("", "ctype_")
        for limit in [getattr(facts, f"max_{scope}{name}")]
    )


@given(data=st.data(), demand=demands())
def test_never_accepts_beyond_quota_and_replays_before_everything(data: st.DataObject, demand: Demand) -> None:
    facts = data.draw(situations(demand))
    outcome = decide_or_refuse(demand, facts)
    if facts.key_operation is not None:
        same = facts.key_hash == demand.request_hash
        assert outcome == (Decision("replay", KNOWN) if same else ProblemCode.IDEMPOTENCY_KEY_REUSED)
    elif refusal := refuse(facts.billing_state, Action.ORDER):
        assert outcome == refusal.code
    elif demand.key is None and facts.active_operation is not None:
        same = facts.active_hash == demand.request_hash
        assert outcome == (Decision("active", ACTIVE) if same else ProblemCode.CREATE_IN_PROGRESS)
    else:
        assert outcome == (Decision("accept") if fits(demand, facts) else ProblemCode.QUOTA_EXCEEDED)


def decide_or_refuse(demand: Demand, facts: Facts) -> Decision | ProblemCode:
    try:
        return decide(demand, facts)
    except Problem as problem:
        return problem.code


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=6), st.randoms(use_true_random=False))
def test_hashes_alike_in_any_order_of_the_fields(spec: dict[str, object], random: Random) -> None:
    names = list(spec)
    random.shuffle(names)
    assert request_hash({name: spec[name] for name in names}) == request_hash(spec)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.dictionaries(st.text(), json_values, max_size=4))
def test_hashes_apart_what_is_not_the_same(one: dict[str, object], other: dict[str, object]) -> None:
    same = repr_of(one) == repr_of(other)
    assert (request_hash(one) == request_hash(other)) == same


def repr_of(value: object) -> str:
    """Tells True from 1, which Python's == does not."""
    if isinstance(value, dict):
        return repr(sorted((key, repr_of(inner)) for key, inner in value.items()))
    return repr([repr_of(inner) for inner in value]) if isinstance(value, list) else repr(value)


def test_hash_outlives_a_release() -> None:
    """Keys are kept for 7 days: the hash of an order may not change under them."""
    assert request_hash({"ctype": "game", "world": "wörld", "memory_mib": 2048, "env": {"B": "1", "A": "2"}}).hex() == (
        "ff32616860a4507ea6cfc6f403db29dd28de4b4af9fbc84b2ac2e554387ec423"
    )
