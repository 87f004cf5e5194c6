"""The documentation of the action plugin edge_plan, which ansible-doc shows."""

DOCUMENTATION = """
module: edge_plan
short_description: Plan what will be published of a game server
description:
  - >-
    Says which records and which registration edge_publish would make. It makes no request.
options:
  hosts:
    description: Hosts of the inventory, among which that of the proxy must be; left out when nothing will be published.
    type: list
    elements: str
extends_documentation_fragment: [edge, edge.server, task]
"""

EXAMPLES = """
- name: Plan what will be published
  edge_plan:
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
    hosts: "{{ groups['all'] }}"
"""

RETURN = """
publishing:
  description: The publications, each with C(driver), C(place), C(type), C(name) and C(value).
  type: list
  elements: dict
  returned: success
"""
