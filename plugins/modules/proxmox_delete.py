"""The documentation of the action plugin proxmox_delete, which ansible-doc shows."""

DOCUMENTATION = """
module: proxmox_delete
short_description: Delete a container
description:
  - >-
    Deletes a stopped container that belongs to the instance with everything of its own, or aborts the clone that
    makes it. One that does not exist is fine.
options:
  server_id:
    description: Id of the instance to which the container must belong.
    type: str
    required: true

  clone_upid:
    description: Id of the clone that may be aborted; empty for none.
    type: str
    default: ""
extends_documentation_fragment: [container, task]
"""

EXAMPLES = """
- name: Delete the container
  proxmox_delete:
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
