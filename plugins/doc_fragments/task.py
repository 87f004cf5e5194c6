"""What holds for each of our tasks."""


class ModuleDocFragment:
    DOCUMENTATION = """
options: {}
notes:
  - It runs in the process of the task on the controller, and connects to what its arguments name.
  - >-
    A secret is given by its name in the secrets file, which the variable C(hostwright_secrets_file) names. Its value
    stands in no result.
  - >-
    A task that fails has RV(ignore:code), an error code of docs/errors.md, RV(ignore:msg), one sentence with cause and
    remedy, and RV(ignore:detail), facts for whoever looks for the cause.
  - In check mode it only says what it would change.
author:
  - Hostwright contributors
"""
