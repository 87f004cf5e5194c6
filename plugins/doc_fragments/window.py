"""For how long a task waits for an agent."""


class ModuleDocFragment:
    DOCUMENTATION = """
options:
  window:
    description: Seconds for which one try waits.
    type: float
    default: 3.0
  deadline:
    description: When the last try ends, in seconds since the machine was started, as C(/proc/uptime) counts them.
    type: float
"""
