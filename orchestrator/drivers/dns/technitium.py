"""Technitium DNS over its HTTP API: every answer is HTTP 200, `status` says what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.drivers.dns.base import DnsDriver, Provider
from orchestrator.drivers.dns.records import Names, Record, canonical, srv_parts, srv_value
from orchestrator.drivers.httpjson import HttpError, HttpJson, short

ABSENT = "no such record exists"


class Technitium(DnsDriver):
    def __init__(self, provider: Provider, mark: str, *, token: str, timeout: float) -> None:
        super().__init__(provider, mark)
        self._http = HttpJson(ca_file=provider.ca_file, timeout=timeout)
        self._token = token

    def read(self, where: Names) -> list[Record]:
        return [*self._read(where.host, "A"), *self._read(where.service, "SRV")]

    def write(self, found: Sequence[Record], changes: Sequence[Record]) -> None:
        del found  # overwrite replaces the whole set, whatever is in it
        for record in changes:
            fields = {"ttl": record.ttl, "overwrite": "true", "comments": self.mark}
            self._call("add", record.name, {"type": record.type, **fields, **_value(record)})

    def delete(self, found: Sequence[Record]) -> None:
        for record in found:
            self._call("delete", record.name, {"type": record.type, **_value(record)}, absent_is_fine=True)

    def _read(self, name: str, kind: str) -> list[Record]:
        answer = self._call("get", name, {})
        entries = answer.get("records")
        if not isinstance(entries, list):
            raise self.provider.failure("answered without a list of records")
        records = [_record(entry) for entry in entries if entry.get("type") == kind]
        return [record for record in records if record.name == name]

    def _call(
        self, verb: str, domain: str, fields: Mapping[str, Any], *, absent_is_fine: bool = False
    ) -> dict[str, Any]:
        # The token as a form field is what every version takes; the Authorization header came with v15.
        form = {"token": self._token, "domain": domain, "zone": canonical(self.provider.zone), **fields}
        try:
            reply = self._http.call("POST", f"{self.provider.url}/api/zones/records/{verb}", form=form)
        except HttpError as error:
            raise self.provider.failure(str(error), f"is {self.provider.url} reachable?") from None
        if reply.status != 200 or not isinstance(reply.body, dict):
            raise self.provider.failure(f"HTTP {reply.status}: {reply.words()}")
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
    if record.type == "A":
        return {"ipAddress": record.value}
    priority, weight, port, target = srv_parts(record.value)
    return {"priority": priority, "weight": weight, "port": port, "target": target}


def _record(entry: Mapping[str, Any]) -> Record:
    data = entry.get("rData") or {}
    if entry.get("type") == "SRV":
        value = srv_value(data["priority"], data["weight"], data["port"], str(data["target"]))
    else:
        value = str(data.get("ipAddress", ""))
    return Record(canonical(str(entry.get("name", ""))), str(entry["type"]), value, int(entry.get("ttl", 0)))
