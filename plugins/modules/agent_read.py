"""The documentation of the action plugin agent_read, which ansible-doc shows."""

DOCUMENTATION = """
module: agent_read
short_description: Read what an instance's agent says
description:
  - >-
    Reads the agent's status, for a person or a test. It changes nothing.
extends_documentation_fragment: [agent, task]
"""

EXAMPLES = """
- name: Read what the agent says
  agent_read:
    address: 10.0.0.7
    port: 18888
    secret: agent_token
    master_secret: agent_master
    server_id: 0d7f2a1e-5b0c-4c39-9a44-1a2b3c4d5e6f
  register: seen
"""

RETURN = """
status:
  description: The agent's status, as agent/README.md describes it.
  type: dict
  returned: always
"""
