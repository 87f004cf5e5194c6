"""What the token of Hostwright may do on a Proxmox, and no more: the README's role, as the lab grants it."""

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
"""Path and privileges; a request that needs another one is refused with Proxmox's own 403."""
