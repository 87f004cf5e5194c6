"""The DNS providers and the proxy at which a server is published, and the server."""


class ModuleDocFragment:
    DOCUMENTATION = """
options:
  providers:
    description: The DNS providers, as C(hostwright_dns) of the inventory says them.
    type: list
    elements: dict
    required: true
  proxy:
    description: The proxy, as C(hostwright_proxy) or C(hostwright_entry_points) of the inventory says it.
    type: dict
    required: true
"""

    SERVER = """
options:
  server:
    description: How the world reaches the game server.
    type: dict
    required: true
    suboptions:
      hostname:
        description: Short host name, the same everywhere; each provider adds its zone.
        type: str
        required: true
      server_id:
        description: Id of the instance, for the mark on its records.
        type: str
        required: true
      service:
        description: Service of the SRV record, without the underscore.
        type: str
        required: true
      protocol:
        description: Protocol of the game.
        type: str
        required: true
        choices: [tcp, udp]
      public_port:
        description: The port that players take.
        type: int
        required: true
      zones:
        description: The zones in which players find it.
        type: list
        elements: str
        required: true
      address:
        description: The container's own address.
        type: str
        default: ""
      port:
        description: The game's port in the container.
        type: int
        required: true
"""
