"""The outside world: Proxmox, DNS, proxies, agents, players. No Ansible, no pydantic: a task's fork stays light.

Reading verbs may be used by anybody; changing verbs only by the action plugins of the roles.
"""
