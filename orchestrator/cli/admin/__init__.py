"""Commands that speak to the database."""
