"""The documentation of the action plugin edge_withdraw, which ansible-doc shows."""

DOCUMENTATION = """
module: edge_withdraw
short_description: Remove what was published of a game server
description:
  - >-
    Removes the records and the registration that are recorded, and nothing beside them. What is absent is fine. Every
    place is tried, then each failure is named.
options:
  publications:
    description: What was published, each with C(driver), C(place), C(type), C(name) and C(value).
    type: list
    elements: dict
    required: true

  hostname:
    description: Short host name, for what it says.
    type: str
    required: true
  server_id:
    description: Id of the instance, whose mark a record must carry.
    type: str
    required: true
  files:
    description: The results of edge_files in a loop over the hosts with files.
    type: list
    elements: dict
    default: []
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
extends_documentation_fragment: [edge, task]
"""

EXAMPLES = """
- name: Remove the registration and the records
  edge_withdraw:
    publications: "{{ plan.publishing }}"
    providers: "{{ hostwright_dns }}"
    proxy: "{{ hostwright_proxy }}"
    hostname: mc-vanilla-5000
    server_id: 408bfe3e-c3b1-4040-b3ef-aebd7943a290
  register: withdrawn
  until: withdrawn.done | default(true)
  retries: 120
  delay: 0
"""

RETURN = """
withdrawn:
  description: The publications that are gone now.
  type: list
  elements: dict
  returned: always
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
