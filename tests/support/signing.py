"""Signed requests, as a billing system makes them."""

import hashlib
import hmac


def sign(secret: str, at: int, body: bytes) -> str:
    """The header that belongs to a body, sent `at` (Unix seconds)."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
