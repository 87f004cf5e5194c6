"""Signatures of other systems' requests, which prove who sent a request and that it was sent just now. Pure."""

import hashlib
import hmac
import re

TOLERANCE_SECONDS = 300
_HEADER = re.compile(r"t=(?P<t>\d{1,12})(?P<rest>(?:,v\d=[0-9a-f]{1,128})+)")


def is_signed(header: str, secret: str, body: bytes, *, now: float) -> bool:
    """Whether one of the header's signatures was made with the secret, at a time within the tolerance of `now`."""
    match = _HEADER.fullmatch(header.replace(" ", ""))
    if match is None or abs(now - int(match["t"])) > TOLERANCE_SECONDS:
        return False
    signed = match["t"].encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    given = [part.removeprefix("v1=") for part in match["rest"].split(",") if part.startswith("v1=")]
    return any(hmac.compare_digest(each, expected) for each in given)
