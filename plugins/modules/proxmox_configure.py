"""The documentation of the action plugin proxmox_configure, which ansible-doc shows."""

DOCUMENTATION = """
module: proxmox_configure
short_description: Give a container its resources, network, name, tags and disk
description:
  - >-
    Sets what differs on a container that belongs to the instance, and leaves the rest.
  - >-
    Tags of others and the hardware address of the network interface stay. A disk only grows.
options:
  server_id:
    description: Id of the instance to which the container must belong.
    type: str
    required: true

  hostname:
    description: Host name of the container.
    type: str
    required: true
  cores:
    description: Number of CPU cores.
    type: int
    required: true
  memory_mib:
    description: Memory in MiB.
    type: int
    required: true
  bridge:
    description: Bridge of the network interface.
    type: str
    required: true
  interface:
    description: Name of the network interface in the container.
    type: str
    required: true
  disk_gib:
    description: Least size of the root disk in GiB; 0 leaves it as it is.
    type: int
    default: 0
extends_documentation_fragment: [container, task]
"""

EXAMPLES = """
- name: Configure the container
  proxmox_configure:
    proxmox: "{{ hostwright_proxmox }}"
    vmid: 5000
    server_id: 408bfe3e-c3b1-4040-b3ef-aebd7943a290
    hostname: mc-vanilla-5000
    cores: 2
    memory_mib: 2048
    bridge: vmbr0
    interface: eth0
    disk_gib: 8
    timeout: 60
"""

RETURN = """
vmid:
  description: VMID of the container.
  type: int
  returned: success
upid:
  description: Id of the last task of Proxmox that was begun.
  type: str
  returned: when one was begun
progress:
  description: What was reached, or is waited for.
  type: str
  returned: always
"""
