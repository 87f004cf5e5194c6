"""The lab's token has the README's role and no more. Each privilege is needed, and a role that lacks it names it."""

import itertools
import re
from collections.abc import Callable

import pytest

from orchestrator.drivers.proxmox.client import ProxmoxError
from orchestrator.drivers.proxmox.clone import Order, clone
from orchestrator.drivers.proxmox.configure import Wanted, configure
from orchestrator.drivers.proxmox.delete import delete
from orchestrator.drivers.proxmox.power import start, stop
from orchestrator.drivers.proxmox.session import Session
from orchestrator.drivers.result import PhaseError
from orchestrator.lab.proxmox.layout import TEMPLATE
from orchestrator.lab.proxmox.privileges import PRIVILEGES
from tests.support.fix_lab_proxmox import Lab, MakeLab

VMID, OURS = 5000, "3f0c-ours"
WANTED = Wanted(OURS, "mc-5000", cores=2, memory_mib=1024, bridge="vmbr1", interface="eth0", disk_gib=9)
VERBS: dict[str, Callable[[Session], object]] = {
    "clone": lambda session: clone(session, Order(TEMPLATE, "template", OURS, "operation-1"), check=False),
    "configure": lambda session: configure(session, WANTED, check=False),
    "start": lambda session: start(session, OURS, check=False),
    "stop": lambda session: stop(session, OURS, 1, check=False),
    "delete": lambda session: delete(session, OURS, check=False),
}
# The first verb that fails without the privilege and names it.
NEEDED_BY = {
    "VM.Audit": "clone",
    "VM.Clone": "clone",
    "VM.Allocate": "delete",
    "VM.Config.CPU": "configure",
    "VM.Config.Memory": "configure",
    "VM.Config.Network": "configure",
    "VM.Config.Options": "configure",
    "VM.Config.Disk": "configure",
    "VM.PowerMgmt": "start",
    "Datastore.AllocateSpace": "clone",
    "SDN.Use": "clone",
}


def run_verb(lab: Lab, verb: str) -> None:
    VERBS[verb](lab.session(VMID))


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    return make_lab()


@pytest.fixture
def grants(lab: Lab) -> dict[str, set[str]]:
    """The privileges of the token's user, which a test can change."""
    held = {path: set(privileges) for path, privileges in PRIVILEGES.items()}
    lab.pve.acl = {"hostwright@pve": list(held.items())}
    return held


def test_role_of_the_readme_is_enough_for_the_whole_walk(lab: Lab) -> None:
    for verb in VERBS:
        run_verb(lab, verb)
    assert lab.pve.ct(VMID) is None


@pytest.mark.parametrize("privilege", NEEDED_BY)
def test_every_privilege_of_the_role_is_needed(lab: Lab, grants: dict[str, set[str]], privilege: str) -> None:
    needed_by = NEEDED_BY[privilege]
    if privilege == "VM.Audit":  # without it nobody sees that the container exists
        run_verb(lab, "clone")
    else:
        for verb in itertools.takewhile(lambda verb: verb != needed_by, VERBS):
            run_verb(lab, verb)
    for held in grants.values():
        held.discard(privilege)
    with pytest.raises(PhaseError, match=re.escape(f", {privilege}; grant it")) as caught:
        run_verb(lab, needed_by)
    assert caught.value.code == "proxmox-denied"


def test_every_privilege_of_the_role_is_tried() -> None:
    assert sorted(NEEDED_BY) == sorted(itertools.chain(*PRIVILEGES.values()))


def test_clone_without_the_right_to_allocate_is_denied_without_a_name(lab: Lab, grants: dict[str, set[str]]) -> None:
    """Proxmox names no privilege where one on a pool would do as well."""
    grants["/vms"].discard("VM.Allocate")
    with pytest.raises(PhaseError, match="check the privileges of the token hostwright@pve!lab") as caught:
        run_verb(lab, "clone")
    assert caught.value.code == "proxmox-denied"


@pytest.mark.parametrize(
    ("method", "path", "parameters"),
    [
        ("post", "lxc/9000/snapshot", {"snapname": "before"}),
        ("post", "lxc/9000/migrate", {"target": "pve2"}),
        ("post", "lxc/9000/termproxy", {}),
    ],
)
def test_what_the_role_lacks_is_refused(lab: Lab, method: str, path: str, parameters: dict[str, str]) -> None:
    with pytest.raises(ProxmoxError, match="Permission check failed") as caught:
        lab.session(VMID).send(method, path, **parameters)
    assert caught.value.status == 403
