"""Commands that speak to the API."""
