"""What there is on the lab's Proxmox from the beginning: one node, one template, two bridges, one token."""

NODE = "pve1"
TEMPLATE = 9000
"""The VMID of the template that every order is cloned from."""
BRIDGES = frozenset({"vmbr0", "vmbr1"})
PVE_USER = "hostwright@pve"
TOKEN_NAME = "lab"  # noqa: S105 - its name, not its secret
TOKEN_ID = f"{PVE_USER}!{TOKEN_NAME}"
