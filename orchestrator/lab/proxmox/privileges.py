"""The privileges of Hostwright's token: the lab grants the role that the README describes, and no more."""

from collections.abc import Mapping

STORAGE = "local-lvm"

PRIVILEGES: Mapping[str, tuple[str, ...]] = {
    "/vms": (
        "VM.Audit",
        "VM.Clone",
        "VM.Allocate",
        "VM.Config.CPU",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
        "VM.Config.Disk",
        "VM.PowerMgmt",
    ),
    f"/storage/{STORAGE}": ("Datastore.AllocateSpace",),
    "/sdn/zones/localnetwork": ("SDN.Use",),
}
"""Path → privileges. A request that needs another privilege is refused with Proxmox's own 403."""
