"""Technitium DNS Server's HTTP API, as far as records go. Every answer is HTTP 200; `status` tells."""

import hmac
from collections.abc import Callable, Mapping
from typing import Any

import dns.rdtypes.IN.SRV
from aiohttp import web
from aiohttp.typedefs import Handler

from orchestrator.lab.errors import InputError
from orchestrator.lab.faults import Fault, Faults
from orchestrator.lab.httpserver import with_faults
from orchestrator.lab.names.zones import Record, Zone, canonical_name, canonical_value

PREFIX = "/api/zones/records/"
DEFAULT_TTL = 3600
# The parameters that make up a value, in the order of its presentation form.
VALUE_PARAMETERS = {
    "A": ("ipAddress",),
    "AAAA": ("ipAddress",),
    "CNAME": ("cname",),
    "TXT": ("text",),
    "SRV": ("priority", "weight", "port", "target"),
}
Params = Mapping[str, str]


class ApiError(Exception):
    """Becomes `{"status": "error", "errorMessage": …}`."""


def application(zone: Zone, *, token: str, readonly_token: str, faults: Faults) -> web.Application:
    """The API over this zone."""
    api = _Api(zone, {token: True, readonly_token: False})
    app = web.Application(middlewares=[with_faults("technitium", faults, _fault_response)])
    verbs: dict[str, tuple[Callable[[Params], dict[str, Any]], bool]] = {
        "get": (api.get, False),
        "add": (api.add, True),
        "update": (api.update, True),
        "delete": (api.delete, True),
    }
    for verb, (action, writes) in verbs.items():
        handler = _endpoint(api, action, writes=writes)
        app.router.add_get(PREFIX + verb, handler)
        app.router.add_post(PREFIX + verb, handler)
    return app


def _fault_response(fault: Fault) -> web.Response | None:
    if "httpStatus" in fault:
        return web.Response(status=fault["httpStatus"], text="injected fault")
    if "status" in fault:
        return _status(fault["status"], errorMessage=fault.get("errorMessage", "injected fault"))
    return None


def _status(status: str, **content: object) -> web.Response:
    return web.json_response({"status": status, **content})


def _endpoint(api: "_Api", action: Callable[[Params], dict[str, Any]], *, writes: bool) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        params = {**request.query, **{k: str(v) for k, v in (await request.post()).items()}}
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else params.get("token")
        if not token:
            return _status("error", errorMessage="Parameter 'token' missing.")
        may_write = api.rights(token)
        if may_write is None:
            return _status("invalid-token", errorMessage="Invalid token or session expired.")
        try:
            if writes and not may_write:
                raise ApiError("Access was denied.")
            return _status("ok", response=action(params))
        except ApiError as error:
            return _status("error", errorMessage=str(error))
        except InputError as error:
            return _status("error", errorMessage=f"Parameter '{error.field}' value is invalid: {error.message}.")

    return handle


class _Api:
    def __init__(self, zone: Zone, tokens: dict[str, bool]) -> None:
        self._zone = zone
        self._tokens = tokens

    def rights(self, token: str) -> bool | None:
        """Whether the token may write; None for an unknown one."""
        for known, may_write in self._tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return may_write
        return None

    def get(self, params: Params) -> dict[str, Any]:
        domain = self._domain(params)
        whole_zone = _flag(params, "listZone") and domain == self._zone.name
        records = self._zone.records(None if whole_zone else domain)
        return self._with_zone(records=[_shown(record) for record in records])

    def add(self, params: Params) -> dict[str, Any]:
        record = self._record(params)
        if _flag(params, "overwrite"):
            self._zone.remove(self._zone.records(record.name, record.type))
        elif self._zone.same(record):
            raise ApiError("Cannot add record: record already exists.")
        self._zone.put(record)
        return self._with_zone(addedRecord=_shown(record))

    def update(self, params: Params) -> dict[str, Any]:
        old = self._record(params)
        known = self._zone.same(old)
        if known is None:
            raise ApiError("Cannot update record: the record does not exist.")
        changes = {name: params.get("new" + name[0].upper() + name[1:]) for name in VALUE_PARAMETERS[old.type]}
        domain = params.get("newDomain") or old.name
        renewed = self._record({**params, "domain": domain} | {k: v for k, v in changes.items() if v is not None})
        self._zone.remove([known])
        self._zone.put(renewed)
        return self._with_zone(updatedRecord=_shown(renewed))

    def delete(self, params: Params) -> dict[str, Any]:
        known = self._zone.same(self._record(params))
        if known is None:
            raise ApiError("Cannot delete record: no such record exists.")
        self._zone.remove([known])
        return {}

    def _domain(self, params: Params) -> str:
        domain = canonical_name(_required(params, "domain"))
        zone = params.get("zone") or self._zone.name
        if domain not in self._zone or canonical_name(zone) != self._zone.name:
            raise ApiError(f"No such zone was found: {params.get('zone') or domain}")
        return domain

    def _record(self, params: Params) -> Record:
        """The record that the parameters describe."""
        name, kind = self._domain(params), _required(params, "type").upper()
        if kind not in VALUE_PARAMETERS:
            raise ApiError(f"Type not supported for adding or deleting records: {kind}")
        parts = [_required(params, parameter) for parameter in VALUE_PARAMETERS[kind]]
        text = '"' + parts[0].replace("\\", "\\\\").replace('"', '\\"') + '"' if kind == "TXT" else " ".join(parts)
        try:
            value = canonical_value(kind, text)
        except InputError as error:
            raise InputError(VALUE_PARAMETERS[kind][0], error.message) from error
        return Record(name, kind, value, _ttl(params), comment=params.get("comments", ""))

    def _with_zone(self, **content: object) -> dict[str, Any]:
        zone = {"name": self._zone.name, "type": "Primary", "internal": False, "disabled": False}
        return {"zone": zone, **content}


def _required(params: Params, name: str) -> str:
    value = params.get(name, "").strip()
    if not value:
        raise ApiError(f"Parameter '{name}' missing.")
    return value


def _flag(params: Params, name: str) -> bool:
    return params.get(name, "").lower() == "true"


def _ttl(params: Params) -> int:
    text = params.get("ttl") or str(DEFAULT_TTL)
    if not text.isascii() or not text.isdigit() or int(text) > 2**31 - 1:
        raise InputError("ttl", f"{text!r} is not a number of seconds")
    return int(text)


def _shown(record: Record) -> dict[str, Any]:
    rdata: dict[str, Any]
    if record.type == "SRV":
        srv = record.rdata()
        assert isinstance(srv, dns.rdtypes.IN.SRV.SRV)  # noqa: S101  (it was parsed as one)
        target = srv.target.to_text(omit_final_dot=True)
        rdata = {"priority": srv.priority, "weight": srv.weight, "port": srv.port, "target": target}
    elif record.type == "TXT":
        rdata = {"text": record.value.strip('"')}
    else:
        rdata = {VALUE_PARAMETERS[record.type][0]: record.value}
    shown = {"disabled": False, "name": record.name, "type": record.type, "ttl": record.ttl, "rData": rdata}
    return shown | ({"comments": record.comment} if record.comment else {})
