"""The agent that a task asks, and for how long."""


class ModuleDocFragment:
    DOCUMENTATION = """
options:
  address:
    description: Address of the container.
    type: str
    required: true
  port:
    description: Port of the agent.
    type: int
    required: true
  secret:
    description: Name of the secret that holds the agent's token. An agent without a token is asked without it.
    type: str
  window:
    description: Seconds for which one try waits.
    type: float
    default: 3.0
  deadline:
    description: When the last try ends, in seconds since the machine was started, as C(/proc/uptime) counts them.
    type: float
"""
