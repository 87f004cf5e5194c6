"""Technitium DNS over its HTTP API: every answer is HTTP 200, `status` says what happened."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestrator.drivers.dns.base import DnsDriver, Provider
from orchestrator.drivers.dns.records import Record, canonical, srv_parts, srv_value
from orchestrator.drivers.httpjson import HttpError, HttpJson, short

ABSENT = "no such record exists"
VALUES: Mapping[str, tuple[str, ...]] = {
    "A": ("ipAddress",),
    "AAAA": ("ipAddress",),
    "CNAME": ("cname",),
    "SRV": ("priority", "weight", "port", "target"),
}
"""The types that are read, and the members that make up a value of each."""


class Technitium(DnsDriver):
    NEEDS = ("url",)

    def __init__(self, provider: Provider, mark: str, *, secret: str, timeout: float, quiet: float = math.inf) -> None:
        super().__init__(provider, mark, secret=secret, timeout=timeout, quiet=quiet)
        self._http = HttpJson(ca_file=provider.ca_file, timeout=timeout, quiet=quiet)

    def read(self, keys: Collection[tuple[str, str]]) -> list[Record]:
        records = [record for name in sorted({name for name, _ in keys}) for record in self._get(name)]
        return [record for record in records if record.key in keys]

    def write(self, found: Sequence[Record], changes: Sequence[Record]) -> None:
        del found  # overwrite replaces the whole set, whatever is in it
        for record in changes:
            fields = {"ttl": record.ttl, "overwrite": "true", "comments": self.mark}
            self._call("add", record.name, {"type": record.type, **fields, **_value(record)})

    def delete(self, found: Sequence[Record]) -> None:
        for record in found:
            self._call("delete", record.name, {"type": record.type, **_value(record)}, absent_is_fine=True)

    def _get(self, name: str) -> list[Record]:
        answer = self._call("get", name, {})
        entries = answer.get("records")
        if not isinstance(entries, list):
            raise self.provider.failure("answered without a list of records")
        off = bool((answer.get("zone") or {}).get("disabled"))
        records = [_record(entry, zone_off=off) for entry in entries if entry.get("type") in VALUES]
        return [record for record in records if record.name == name]

    def _call(
        self, verb: str, domain: str, fields: Mapping[str, Any], *, absent_is_fine: bool = False
    ) -> dict[str, Any]:
        # The token as a form field is what every version takes; the Authorization header came with v15.
        form = {"token": self.secret, "domain": domain, "zone": canonical(self.provider.zone), **fields}
        try:
            url = f"{self.provider.url}/api/zones/records/{verb}"
            reply = self._http.call("POST", url, form=form, changes=verb != "get")
        except HttpError as error:
            raise self.provider.unreachable(error) from None
        if reply.status != 200 or not isinstance(reply.body, dict):
            raise self.provider.failure(f"HTTP {reply.status}: {reply.words()}", left_alone=reply.left_alone)
        if reply.body.get("status") == "ok":
            return dict(reply.body.get("response") or {})
        words = short(str(reply.body.get("errorMessage") or reply.body.get("status")))
        if absent_is_fine and ABSENT in words:
            return {}
        raise self.provider.failure(words, self._remedy(str(reply.body.get("status")), words))

    def _remedy(self, status: str, words: str) -> str:
        if status == "invalid-token" or "token" in words:
            return f"give a valid API token as secret {self.provider.secret}"
        if "denied" in words:
            return f"the token's user needs the permissions View, Modify and Delete on zone {self.provider.zone}"
        if "No such zone" in words:
            return f"create the zone {self.provider.zone} there or correct it in hostwright_dns"
        return ""


def _value(record: Record) -> dict[str, Any]:
    """The parameters that name a record's value."""
    parts = srv_parts(record.value) if record.type == "SRV" else (record.value,)
    return dict(zip(VALUES[record.type], parts, strict=True))


def _record(entry: Mapping[str, Any], *, zone_off: bool) -> Record:
    kind = str(entry["type"])
    parts = [entry["rData"][name] for name in VALUES[kind]]
    value = srv_value(*parts) if kind == "SRV" else canonical(str(parts[0]))
    name, note = canonical(str(entry["name"])), str(entry.get("comments") or "")
    # A disabled one is kept, but nobody gets it for an answer; one that expires will be gone while the server lives.
    served = not (zone_off or entry.get("disabled") or entry.get("expiryTtl"))
    return Record(name, kind, value, int(entry["ttl"]), note, served)
