"""Commands that run Hostwright or parts of it."""
