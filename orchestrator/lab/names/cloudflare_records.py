"""DNS records as Cloudflare's API has them: read from a request, and written into an answer."""

from typing import Any

import dns.rdtypes.IN.SRV

from orchestrator.lab.errors import InputError
from orchestrator.lab.names.zones import TYPES, Record, Zone, normalise_name, normalise_value

MAX_COMMENT = 100
"""Characters on Cloudflare's free plan; the other plans allow 500. A mark that fits here fits everywhere."""
PROXIABLE = ("A", "AAAA", "CNAME")


class ApiError(Exception):
    """A failure with its HTTP status and Cloudflare's code."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def parse_record(body: dict[str, Any], zone: Zone) -> Record:
    """The record that the request describes. Raises ApiError with the code of what is wrong."""
    kind = body.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        raise ApiError(400, 1004, f"DNS Validation Error: invalid type {kind!r}")
    ttl, comment, proxied = body.get("ttl", 1), body.get("comment") or "", body.get("proxied") or False
    if not isinstance(ttl, int) or isinstance(ttl, bool) or not (ttl == 1 or 60 <= ttl <= 86400):
        raise ApiError(400, 9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.")
    if not isinstance(comment, str) or len(comment) > MAX_COMMENT:
        raise ApiError(400, 1004, f"DNS Validation Error: comment is longer than {MAX_COMMENT} characters")
    if not isinstance(proxied, bool) or (proxied and kind not in PROXIABLE):
        raise ApiError(400, 9004, "This record type cannot be proxied.")
    value = _read_srv_value(body) if kind == "SRV" else _read_content(kind, body)
    return Record(_read_name(body, zone), kind, value, ttl, comment, proxied)


def _read_name(body: dict[str, Any], zone: Zone) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise ApiError(400, 9000, "DNS name is invalid.")
    if name == "@":
        return zone.name
    try:
        full = normalise_name(name)
    except InputError as error:
        raise ApiError(400, 9000, "DNS name is invalid.") from error
    # Cloudflare reads a name outside the zone as relative to it.
    return full if full in zone else f"{full}.{zone.name}"


def _read_content(kind: str, body: dict[str, Any]) -> str:
    content = body.get("content")
    if not isinstance(content, str) or not content:
        raise ApiError(400, 9005, f"Content for {kind} record is missing.")
    text = f'"{content}"' if kind == "TXT" and not content.startswith('"') else content
    try:
        return normalise_value(kind, text)
    except InputError as error:
        wanted = {"A": "a valid IPv4 address", "AAAA": "a valid IPv6 address"}.get(kind, "valid")
        raise ApiError(400, 9005, f"Content for {kind} record must be {wanted}.") from error


def _read_srv_value(body: dict[str, Any]) -> str:
    data = body.get("data")
    if not isinstance(data, dict):
        raise ApiError(400, 1004, "DNS Validation Error: data is required for an SRV record")
    numbers = [data.get(name) for name in ("priority", "weight", "port")]
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 65535:
            raise ApiError(400, 9005, "Content for SRV record must have priority, weight and port in 0..65535.")
    target = data.get("target")
    if not isinstance(target, str) or not target:
        raise ApiError(400, 9005, "Content for SRV record must have a target.")
    try:
        return normalise_value("SRV", f"{numbers[0]} {numbers[1]} {numbers[2]} {normalise_name(target) or '.'}")
    except InputError as error:
        raise ApiError(400, 9005, "Content for SRV record must have a valid target.") from error


def show_record(record: Record, zone: Zone) -> dict[str, Any]:
    """The record as an answer shows it. An SRV record has `data`, and a `content` without the priority."""
    entry: dict[str, Any] = {
        "id": record.id,
        "zone_name": zone.name,
        "name": record.name,
        "type": record.type,
        "content": record.value,
        "proxiable": record.type in PROXIABLE,
        "proxied": record.proxied,
        "ttl": record.ttl,
        "comment": record.comment or None,
        "tags": [],
    }
    if record.type == "SRV":
        srv = record.rdata()
        assert isinstance(srv, dns.rdtypes.IN.SRV.SRV)  # noqa: S101 - it was parsed as one
        target = srv.target.to_text(omit_final_dot=True)
        entry["content"] = f"{srv.weight}\t{srv.port}\t{target}"
        entry["priority"] = srv.priority
        entry["data"] = {"priority": srv.priority, "weight": srv.weight, "port": srv.port, "target": target}
    return entry
