"""The documentation of the action plugin proxmox_stop, which ansible-doc shows."""

DOCUMENTATION = """
module: proxmox_stop
short_description: Shut a container down, and stop it when it does not
description:
  - >-
    Shuts down a container that belongs to the instance. One that still runs after O(grace) is stopped hard. One that
    does not exist is fine.
options:
  server_id:
    description: Id of the instance to which the container must belong.
    type: str
    required: true

  grace:
    description: Seconds that it has to shut down by itself.
    type: int
    required: true
extends_documentation_fragment: [container, task]
"""

EXAMPLES = """
- name: Stop the container
  proxmox_stop:
    proxmox: "{{ hostwright_proxmox }}"
    vmid: 5000
    server_id: 408bfe3e-c3b1-4040-b3ef-aebd7943a290
    grace: 30
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
