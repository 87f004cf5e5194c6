"""The lab's Proxmox: fakepve with real guests, delays and faults."""
