"""The documentation of the action plugin edge_verify, which ansible-doc shows."""

DOCUMENTATION = """
module: edge_verify
short_description: Wait until a player gets through to a game server
description:
  - >-
    Asks every name server, the proxy, and the game at its container and through each edge, for one window.
  - >-
    Delegate it to the host of the proxy, if the proxy names one, and repeat it with C(until).
options:
  probe:
    description: How the game is asked whether it is there, as the catalogue says it.
    type: raw
    default: minecraft
  window:
    description: Seconds for which one try waits.
    type: float
    default: 3.0

  limit:
    description: >-
      Seconds after the first try within which a provider or proxy that wants to be left alone for a while is asked
      again.
    type: float
    default: 120.0
extends_documentation_fragment: [edge, edge.server, task]
"""

EXAMPLES = """
- name: Verify that a player gets through
  edge_verify:
    providers: "{{ hostwright_dns }}"
    proxy: "{{ hostwright_proxy }}"
    server:
      hostname: mc-vanilla-5000
      server_id: 408bfe3e-c3b1-4040-b3ef-aebd7943a290
      service: minecraft
      protocol: tcp
      public_port: 25565
      zones: [games.example.com]
      address: 10.0.0.7
      port: 25565
  register: seen
  until: seen.done
  retries: 39
  delay: 0
"""

RETURN = """
checks:
  description: What each check saw, by its name.
  type: dict
  returned: success
done:
  description: Whether the wait is over. Repeat the task with C(until) as long as it is not.
  type: bool
  returned: always
progress:
  description: What was reached, or is waited for.
  type: str
  returned: always
"""
