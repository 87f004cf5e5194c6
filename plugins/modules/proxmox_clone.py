"""The documentation of the action plugin proxmox_clone, which ansible-doc shows."""

DOCUMENTATION = """
module: proxmox_clone
short_description: Clone a template into a VMID
description:
  - >-
    Clones a container template into a VMID that is free, with the mark of the instance. A VMID that has the
    instance's own container is left as it is.
  - >-
    It returns once Proxmox has accepted the clone. A second task with O(wait=true), which is given the RV(clone_upid)
    and RV(waited) of the first, waits for its end.
options:
  template:
    description: VMID of the template.
    type: int
    required: true
  hostname:
    description: Host name of the new container.
    type: str
    required: true
  server_id:
    description: Id of the instance, for the mark on the container.
    type: str
    required: true
  operation_id:
    description: Id of the operation, which the mark names too.
    type: str
    required: true
  full:
    description: Whether every disk is copied. Otherwise it is a linked clone, which needs a storage that has them.
    type: bool
    default: true
  storage:
    description: Storage of a full clone's disk; empty for that of the template.
    type: str
    default: ""
  pool:
    description: Resource pool of the new container; empty for none.
    type: str
    default: ""
  wait:
    description: Whether it waits for the end of the clone.
    type: bool
    default: false
  upid:
    description: Id of the clone's task that was begun before; empty when its answer was lost.
    type: str
    default: ""
  waited:
    description: Seconds of O(timeout) that the task before has used up.
    type: float
    default: 0.0
extends_documentation_fragment: [container, task]
"""

EXAMPLES = """
- name: Clone the template
  proxmox_clone: &clone
    proxmox: "{{ hostwright_proxmox }}"
    vmid: 5000
    template: 9000
    hostname: mc-vanilla-5000
    server_id: 408bfe3e-c3b1-4040-b3ef-aebd7943a290
    operation_id: by-hand
    timeout: 600
  register: begun

- name: Wait for the clone
  proxmox_clone:
    <<: *clone
    wait: true
    upid: "{{ begun.clone_upid }}"
    waited: "{{ begun.waited }}"
  when: begun.pending
"""

RETURN = """
pending:
  description: Whether a clone of this instance runs, for whose end a second task is to wait.
  type: bool
  returned: without O(wait)
clone_upid:
  description: Id of the clone that was begun here; empty for one that ran already.
  type: str
  returned: without O(wait)
waited:
  description: Seconds that were used up by waiting.
  type: float
  returned: without O(wait)
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
