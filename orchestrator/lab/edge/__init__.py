"""The lab's proxies: stand-ins through which players really get to a guest."""
