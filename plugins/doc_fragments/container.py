"""The container on which a task acts."""


class ModuleDocFragment:
    DOCUMENTATION = """
options:
  proxmox:
    description: Where Proxmox is asked, as C(hostwright_proxmox) of the inventory says it.
    type: dict
    required: true
    suboptions:
      host:
        description: A name or an address in the certificate of its API.
        type: str
        required: true
      port:
        description: The port of its API.
        type: int
        default: 8006
      node:
        description: The node of the containers.
        type: str
        required: true
      user:
        description: The user of the API token, with its realm.
        type: str
        required: true
      token_name:
        description: The name of the API token.
        type: str
        required: true
      ca_file:
        description: The authority that signed the certificate, where the system does not know it.
        type: str
      secret:
        description: The name of the secret that holds the value of the token.
        type: str
        default: proxmox_token
  vmid:
    description: VMID of the container.
    type: int
    required: true
  timeout:
    description: Seconds within which all of it must be done.
    type: int
    required: true
"""
