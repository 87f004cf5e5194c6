"""Signatures of other systems' requests, which prove who sent a request and that it was sent just now. Pure."""

import hashlib
import hmac
import re

TOLERANCE_SECONDS = 300
_HEADER = re.compile(r"t=(?P<t>\d{1,12})(?P<rest>(?:,v\d=[0-9a-f]{1,128})+)")


def may_be_signed(header: str, *, now: float) -> bool:
    """Whether a header has the form of a signature that was made within the tolerance of `now`."""
    return _read(header, now) is not None


def is_signed(header: str, secret: str, body: bytes, *, now: float) -> bool:
    """Whether one of the header's signatures was made with the secret, at a time within the tolerance of `now`."""
    match = _read(header, now)
    if match is None:
        return False
    signed = match["t"].encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    given = [part.removeprefix("v1=") for part in match["rest"].split(",") if part.startswith("v1=")]
    return any(hmac.compare_digest(each, expected) for each in given)


def _read(header: str, now: float) -> re.Match[str] | None:
    match = _HEADER.fullmatch(header.replace(" ", ""))
    return match if match is not None and abs(now - int(match["t"])) <= TOLERANCE_SECONDS else None
