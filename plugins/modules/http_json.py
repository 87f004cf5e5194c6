"""The documentation of the action plugin http_json, which ansible-doc shows."""

DOCUMENTATION = """
module: http_json
short_description: Send one request with JSON over HTTP
description:
  - >-
    Sends one request from the controller, with a bearer token by the name of its secret, and fails unless the status
    is an expected one.
  - >-
    Refused connections and the status 429 are retried. C(POST) and C(PATCH) are not, because they may have worked
    although the answer was lost.
options:
  url:
    description: The whole address.
    type: str
    required: true
  method:
    description: The method of the request.
    type: str
    default: GET
    choices: [GET, HEAD, POST, PUT, PATCH, DELETE]
  body:
    description: What is sent as JSON.
    type: raw
  secret:
    description: Name of the secret that holds the bearer token.
    type: str
  expect:
    description: The statuses that are right.
    type: list
    elements: int
    default: [200]
  unchanged:
    description: Those of O(expect) that mean that nothing was changed.
    type: list
    elements: int
    default: []
  ca_file:
    description: The authority that signed the certificate, where the system does not know it.
    type: path
  timeout:
    description: Seconds that it may take with its retries.
    type: float
    default: 10.0
  error_code:
    description: The error code of a failure, one of those in docs/errors.md.
    type: str
    default: internal
    choices:
      - vmid-taken
      - not-ours
      - template-missing
      - clone-locked
      - storage-full
      - proxmox-unreachable
      - proxmox-denied
      - proxmox-task-failed
      - ip-timeout
      - agent-unreachable
      - agent-rejected
      - agent-error
      - agent-timeout
      - dns-failed
      - velocity-failed
      - verify-failed
      - deadline-exceeded
      - worker-lost
      - cancelled
      - internal
extends_documentation_fragment: [task]
"""

EXAMPLES = """
- name: Ask the agent whether it lives
  http_json:
    url: http://10.0.0.7:18888/health
    secret: agent_token
"""

RETURN = """
status:
  description: The status of the answer.
  type: int
  returned: success
body:
  description: The answer's JSON.
  type: raw
  returned: success
"""
