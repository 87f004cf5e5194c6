"""Proxmox VE: reading it, and the verbs on one container that the roles carry out."""
