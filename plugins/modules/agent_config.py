"""The documentation of the action plugin agent_config, which ansible-doc shows."""

DOCUMENTATION = """
module: agent_config
short_description: Give the agent its configuration
description:
  - >-
    Sends the payload unless the agent has it. An agent that runs with another configuration is left alone.
  - >-
    It waits one window for an agent that is busy. Repeat it with C(until) to wait longer.
options:
  payload:
    description: The configuration, as the role C(build_agent_payload) makes it.
    type: dict
    required: true
extends_documentation_fragment: [agent, window, task]
"""

EXAMPLES = """
- name: Send the configuration
  agent_config:
    address: 10.0.0.7
    port: 18888
    payload: "{{ build_agent_payload_result }}"
    secret: agent_token
  register: sent
  until: sent.done
  retries: 19
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
