"""The agent that a task asks."""


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
    description: Name of the secret that holds the template's token. An agent without a token is asked without it.
    type: str
  master_secret:
    description: Name of the secret from which each agent's own token is derived. None derives none.
    type: str
  server_id:
    description: Id of the instance whose agent it is, from which its token is derived, too.
    type: str
"""
