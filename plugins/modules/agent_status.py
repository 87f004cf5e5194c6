"""The documentation of the action plugin agent_status, which ansible-doc shows."""

DOCUMENTATION = """
module: agent_status
short_description: Wait for the end of what the agent does
description:
  - >-
    Waits one window until the agent runs and is ready, or has failed. Repeat it with C(until) to wait longer.
options:
  vmid:
    description: VMID of the container, for which the agent must have been configured.
    type: int
    required: true
extends_documentation_fragment: [agent, window, task]
"""

EXAMPLES = """
- name: Wait until the instance is ready
  agent_status:
    address: 10.0.0.7
    port: 18888
    vmid: 5000
    secret: agent_token
  register: seen
  until: seen.done
  retries: 199
  delay: 0
"""

RETURN = """
done:
  description: Whether the wait is over. Repeat the task with C(until) as long as it is not.
  type: bool
  returned: always
progress:
  description: What was reached, or is waited for.
  type: str
  returned: always
"""
