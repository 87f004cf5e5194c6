"""The documentation of the action plugin proxmox_read, which ansible-doc shows."""

DOCUMENTATION = """
module: proxmox_read
short_description: Read a container
description:
  - >-
    Reads the status, the configuration or the address of a container, and changes nothing.
  - >-
    For an address it waits one window. Repeat it with C(until) to wait longer.
options:
  what:
    description: What is read.
    type: str
    required: true
    choices: [status, config, address]
  server_id:
    description: Id of the instance; a O(what=status) fails with C(not-ours) when the container is another's.
    type: str
  must_exist:
    description: Whether a O(what=status) fails with C(not-ours) when there is no container.
    type: bool
    default: false
  interface:
    description: The network interface whose O(what=address) is read.
    type: str
    default: eth0
  window:
    description: Seconds for which one try waits for an O(what=address).
    type: int
    default: 3
extends_documentation_fragment: [container, task]
"""

EXAMPLES = """
- name: Wait for the address
  proxmox_read:
    proxmox: "{{ hostwright_proxmox }}"
    vmid: 5000
    what: address
    timeout: 120
  register: found
  until: found.done
  retries: 39
  delay: 0
"""

RETURN = """
presence:
  description: Whether the container is C(present) or C(gone).
  type: str
  returned: O(what=status) or O(what=config)
status:
  description: What Proxmox says of it, with its C(power), C(name), C(uptime) in seconds, C(lock) and C(tags).
  type: dict
  returned: O(what=status)
config:
  description: Its configuration as Proxmox has it.
  type: dict
  returned: O(what=config)
address:
  description: Its IPv4 address.
  type: str
  returned: O(what=address)
done:
  description: Whether the wait for the address is over.
  type: bool
  returned: O(what=address)
"""
