"""Webhooks: the endpoints for the billing system, the proxy's bridge, and instances with their one-time tokens."""
