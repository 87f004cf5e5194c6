"""The documentation of the action plugin proxmox_start, which ansible-doc shows."""

DOCUMENTATION = """
module: proxmox_start
short_description: Start a container
description:
  - >-
    Starts a container that belongs to the instance, and waits until it runs.
options:
  server_id:
    description: Id of the instance to which the container must belong.
    type: str
    required: true
extends_documentation_fragment: [container, task]
"""

EXAMPLES = """
- name: Start the container
  proxmox_start:
    proxmox: "{{ hostwright_proxmox }}"
    vmid: 5000
    server_id: 408bfe3e-c3b1-4040-b3ef-aebd7943a290
    timeout: 120
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
