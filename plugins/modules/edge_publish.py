"""The documentation of the action plugin edge_publish, which ansible-doc shows."""

DOCUMENTATION = """
module: edge_publish
short_description: Publish a game server in DNS and at the proxy
description:
  - >-
    Makes what edge_plan planned: the records at every DNS provider, then the registration. Every provider is tried,
    then each failure is named; the proxy follows when none failed.
  - >-
    Played by a worker, it begins only after the worker has recorded the plan.
  - >-
    Delegate it to the host of the proxy, if the proxy names one, and repeat it with C(until).
options:
  timeout:
    description: Seconds that one request may take with its retries.
    type: float
    default: 20.0

  limit:
    description: >-
      Seconds after the first try within which a provider or proxy that wants to be left alone for a while is asked
      again.
    type: float
    default: 120.0

  record_timeout:
    description: Seconds that the worker may take to record the plan.
    type: float
    default: 120.0
extends_documentation_fragment: [edge, edge.server, task]
"""

EXAMPLES = """
- name: Publish it
  edge_publish:
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
  register: published
  until: published.done | default(true)
  retries: 120
  delay: 0
"""

RETURN = """
places:
  description: What was done at each provider and at the proxy, by name.
  type: dict
  returned: success
seconds:
  description: Seconds that it took with its waits.
  type: float
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
