"""Cloudflare's DNS over its v4 API: envelopes with codes; it takes a second A record, so list comes first."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestrator.drivers.dns.base import DnsDriver, Provider
from orchestrator.drivers.dns.records import Record, canonical, srv_parts, srv_value
from orchestrator.drivers.httpjson import HttpError, HttpJson, Reply, short

IDENTICAL = frozenset({81057, 81058})
ABSENT = frozenset({81044})
UNAUTHENTICATED = frozenset({6003, 9109, 10000})
PAGE = 100
MOST_PAGES = 10


class Cloudflare(DnsDriver):
    NEEDS = ("url", "zone_id")
    ZONE = "zone_id"

    def __init__(self, provider: Provider, mark: str, *, secret: str, timeout: float, quiet: float = math.inf) -> None:
        super().__init__(provider, mark, secret=secret, timeout=timeout, quiet=quiet)
        self._http = HttpJson(ca_file=provider.ca_file, bearer=secret, timeout=timeout, quiet=quiet)

    def read(self, keys: Collection[tuple[str, str]]) -> list[Record]:
        records = [record for name in sorted({name for name, _ in keys}) for record in self._list(name)]
        return [record for record in records if record.key in keys]

    def write(self, found: Sequence[Record], changes: Sequence[Record]) -> None:
        for record in changes:
            there = [one for one in found if one.key == record.key]
            kept = next((one for one in there if one == record), there[0] if there else None)
            # Stale values go first: the API refuses a change into what another record already says.
            self.delete([one for one in there if one is not kept])
            if kept is None:
                self._call("POST", "", _body(record), fine=IDENTICAL)
            elif kept != record:
                self._call("PUT", f"/{kept.ref}", _body(record), fine=IDENTICAL)

    def delete(self, found: Sequence[Record]) -> None:
        for record in found:
            self._call("DELETE", f"/{record.ref}", fine=ABSENT)

    def _list(self, name: str) -> list[Record]:
        records: list[Record] = []
        for page in range(1, MOST_PAGES + 1):
            params = {"name.exact": name, "page": page, "per_page": PAGE}
            reply = self._call("GET", "", params=params)
            entries = reply.member("result")
            if not isinstance(entries, list):
                raise self.provider.failure("answered without a list of records")
            records += [_record(entry) for entry in entries]
            if page >= int((reply.member("result_info") or {}).get("total_pages") or 1):
                break
        else:
            raise self.provider.failure(f"lists more than {MOST_PAGES} pages of records for one name")
        # A server that does not know the filter lists the whole zone.
        return [record for record in records if record.name == name]

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        fine: frozenset[int] = frozenset(),
    ) -> Reply:
        url = f"{self.provider.url}/zones/{self.provider.zone_id}/dns_records{path}"
        try:
            reply = self._http.call(method, url, body=body, params=params, changes=method != "GET")
        except HttpError as error:
            raise self.provider.unreachable(error) from None
        if reply.ok and reply.member("success") is True:
            return reply
        codes = _codes(reply)
        if codes & fine or (reply.status == 404 and method == "DELETE"):
            return reply
        raise self.provider.failure(_words(reply), self._remedy(reply, codes, method), left_alone=reply.left_alone)

    def _remedy(self, reply: Reply, codes: set[int], method: str) -> str:
        if reply.status in (401, 403) or codes & UNAUTHENTICATED:
            right = "Read" if method == "GET" else "Edit"
            return (
                f"the token (secret {self.provider.secret}) must be valid and have the permission "
                f"Zone / DNS / {right} on zone {self.provider.zone}"
            )
        if 7003 in codes:
            return "correct zone_id in hostwright_dns"
        return ""


def _codes(reply: Reply) -> set[int]:
    errors = reply.member("errors")
    return {int(error.get("code", 0)) for error in errors} if isinstance(errors, list) else set()


def _words(reply: Reply) -> str:
    errors = reply.member("errors")
    if isinstance(errors, list) and errors:
        return short(", ".join(f"{error.get('message')} ({error.get('code')})" for error in errors))
    return f"HTTP {reply.status}: {reply.words()}"


def _body(record: Record) -> dict[str, Any]:
    common = {"type": record.type, "name": record.name, "ttl": record.ttl, "comment": record.mark}
    if record.type == "A":
        # Cloudflare's proxy speaks HTTP and would break the Minecraft protocol.
        return common | {"content": record.value, "proxied": False}
    priority, weight, port, target = srv_parts(record.value)
    return common | {"data": {"priority": priority, "weight": weight, "port": port, "target": target}}


def _record(entry: Mapping[str, Any]) -> Record:
    kind = str(entry.get("type"))
    if kind == "SRV":
        data = entry.get("data") or {}
        value = srv_value(
            data.get("priority", 0), data.get("weight", 0), data.get("port", 0), str(data.get("target", ""))
        )
    else:
        value = str(entry.get("content", ""))
    name, note, ref = canonical(str(entry.get("name", ""))), str(entry.get("comment") or ""), str(entry.get("id", ""))
    # A proxied one is answered with Cloudflare's own addresses.
    return Record(name, kind, value, int(entry.get("ttl") or 0), note, not entry.get("proxied"), ref)
