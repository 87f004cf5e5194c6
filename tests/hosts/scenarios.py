"""Every scenario of `make hosts`, one row each, in the groups that share a running site."""

from orchestrator.domain.operations import PROVISION, TEARDOWN
from orchestrator.domain.phases import Phase
from tests.chaos.scenarios import Group, Scenario
from tests.chaos.site import Plan
from tests.hosts import partitions
from tests.hosts.partitions import SHORT, cut_from_database, cut_from_lab, cut_past_lease, cut_within_lease, pull_cable

_RESUMED = "its run ends within its lease, another worker ends the order alone, and the healed one works again"
_MOMENT = 10.0
_FOR_GOOD = 45.0
_PHASES_SECONDS = (
    '{"start-container": 15, "wait-for-agent-terminal-state": 15, "stop-container": 15, '
    '"unpublish-edge": 15, "delete-container": 15}'
)


def _list_cuts(name: str, does: str, disturbance: partitions.Disturbance, *phases: Phase) -> tuple[Scenario, ...]:
    return tuple(
        Scenario(
            f"{name}-at-{phase}", f"{does} in {phase}, for longer than its lease", _RESUMED,
            cut_past_lease(disturbance, TEARDOWN if phase is Phase.DELETE_CONTAINER else PROVISION, phase),
        )
        for phase in phases
    )  # fmt: skip


_DATABASE = (
    *_list_cuts("database-lost", "a worker and the database lose each other", cut_from_database(),
              Phase.ALLOCATE_VMID, Phase.CLONE_CONTAINER, Phase.START_CONTAINER, Phase.WAIT_FOR_AGENT,
              Phase.PUBLISH_EDGE, Phase.COMPLETE, Phase.DELETE_CONTAINER),
    *_list_cuts("answers-lost", "a worker hears nothing of the database, which hears it", cut_from_database("from"),
              Phase.ALLOCATE_VMID, Phase.START_CONTAINER, Phase.COMPLETE),
    *_list_cuts("requests-lost", "the database hears nothing of a worker, which hears it", cut_from_database("to"),
              Phase.START_CONTAINER),
    *_list_cuts("unplugged", "the cable of a worker's machine is pulled", pull_cable, Phase.CLONE_CONTAINER),
    *(
        Scenario(f"database-missed-at-{phase}", f"a worker and the database lose each other for {SHORT:g} s in {phase}",
                 "the same attempt goes on", cut_within_lease(cut_from_database(), phase))
        for phase in (Phase.CLONE_CONTAINER, Phase.PUBLISH_EDGE)
    ),
    Scenario("all-cut-off", "all workers and the database lose each other with 2 orders under way",
             "no run outlives its lease; after that both succeed", partitions.cut_all_workers),
    Scenario("half-open", "a worker's connections to the database die without a word",
             "both ends let go of them within 30 s, and another worker ends the order", partitions.break_connections),
    Scenario("lab-missed", f"a worker reaches no Proxmox, agent, DNS or proxy for {_MOMENT:g} s in start-container",
             "succeeds, one instance", cut_from_lab(_MOMENT, Phase.START_CONTAINER, "succeeded")),
)  # fmt: skip
_LAB = (
    Scenario("lab-lost", f"the same for {_FOR_GOOD:g} s, which is longer than its phases may take",
             "fails with a reason; what could not be removed is gone in the end",
             cut_from_lab(_FOR_GOOD, Phase.START_CONTAINER, "failed")),
)  # fmt: skip

GROUPS: tuple[Group, ...] = (
    Group("network", _DATABASE),
    Group("network-lab", _LAB,
          Plan(settings={"HOSTWRIGHT_PHASE_TIMEOUTS": _PHASES_SECONDS, "HOSTWRIGHT_CLEANUP_RETRY_SECONDS": "2"})),
)  # fmt: skip
"""All groups. Each runs on a site of its own."""

SCENARIOS: frozenset[str] = frozenset(row.name for group in GROUPS for row in group.scenarios)
"""The names of all scenarios."""
