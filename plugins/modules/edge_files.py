"""The documentation of the action plugin edge_files, which ansible-doc shows."""

DOCUMENTATION = """
module: edge_files
short_description: Remove what was published as files on one host
description:
  - >-
    Removes the recorded files of the host to which the task is delegated. What failed is a part of the result,
    because the task is one of several in a loop: edge_withdraw fails for all of them.
options:
  host:
    description: Name of the host in the inventory.
    type: str
    required: true

  publications:
    description: What was published, each with C(driver), C(place), C(type), C(name) and C(value).
    type: list
    elements: dict
    required: true

  server_id:
    description: Id of the instance, whose mark a file must carry.
    type: str
    required: true
  timeout:
    description: Seconds for which a host that is away is waited for.
    type: float
    default: 20.0
extends_documentation_fragment: [task]
"""

EXAMPLES = """
- name: Remove the files
  edge_files:
    host: "{{ item }}"
    publications: "{{ plan.publishing }}"
    server_id: 408bfe3e-c3b1-4040-b3ef-aebd7943a290
  delegate_to: "{{ item }}"
  loop: [proxy]
  register: files
"""

RETURN = """
gone:
  description: The publications that are gone now.
  type: list
  elements: dict
  returned: success
failures:
  description: What could not be removed, each with C(code) and C(message).
  type: list
  elements: dict
  returned: success
"""
