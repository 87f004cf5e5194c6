"""Proxies that lead players to a server: ensure, list and remove the registration of one instance."""
