"""A stand-in for Technitium DNS Server's HTTP API, as far as records need it.

Every answer is HTTP 200; its `status` says how it went.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import dns.rdtypes.IN.SRV
from aiohttp import web
from aiohttp.typedefs import Handler

from orchestrator.lab.errors import InputError
from orchestrator.lab.faults import Fault, Faults
from orchestrator.lab.names.zones import Record, Zone, normalise_name, normalise_value
from orchestrator.lab.servers.http import with_faults

ZONES = "/api/zones/"
DEFAULT_TTL = 3600
# The parameters that make up a record's value, in the order of its presentation form.
VALUE_PARAMETERS = {
    "A": ("ipAddress",),
    "AAAA": ("ipAddress",),
    "CNAME": ("cname",),
    "TXT": ("text",),
    "SRV": ("priority", "weight", "port", "target"),
}
Params = Mapping[str, str]


class ApiError(Exception):
    """A refusal, which is answered as `{"status": "error", "errorMessage": …}`."""


def make_application(zone: Zone, *, token: str, readonly_token: str, faults: Faults) -> web.Application:
    """The API over this zone."""
    api = _Api(zone, {token: True, readonly_token: False})
    app = web.Application(middlewares=[with_faults("technitium", faults, _answer_fault)])
    verbs: dict[str, tuple[Callable[[Params], dict[str, Any]], bool]] = {
        "records/get": (api.get, False),
        "records/add": (api.add, True),
        "records/update": (api.update, True),
        "records/delete": (api.delete, True),
        "disable": (api.disable, True),
        "enable": (api.enable, True),
    }
    for verb, (action, writes) in verbs.items():
        handler = _make_handler(api, action, writes=writes)
        app.router.add_get(ZONES + verb, handler)
        app.router.add_post(ZONES + verb, handler)
    return app


def _answer_fault(fault: Fault) -> web.Response | None:
    if "httpStatus" in fault:
        return web.Response(status=fault["httpStatus"], text="injected fault")
    if "status" in fault:
        return _make_answer(fault["status"], errorMessage=fault.get("errorMessage", "injected fault"))
    return None


def _make_answer(status: str, **content: object) -> web.Response:
    return web.json_response({"status": status, **content})


def _make_handler(api: "_Api", action: Callable[[Params], dict[str, Any]], *, writes: bool) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        params = {**request.query, **{k: str(v) for k, v in (await request.post()).items()}}
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else params.get("token")
        if not token:
            return _make_answer("error", errorMessage="Parameter 'token' missing.")
        may_write = api.may_write(token)
        if may_write is None:
            return _make_answer("invalid-token", errorMessage="Invalid token or session expired.")
        try:
            if writes and not may_write:
                raise ApiError("Access was denied.")
            return _make_answer("ok", response=action(params))
        except ApiError as error:
            return _make_answer("error", errorMessage=str(error))
        except InputError as error:
            return _make_answer("error", errorMessage=f"Parameter '{error.field}' value is invalid: {error.message}.")

    return handle


class _Api:
    """The calls of the API. `tokens` says of each token whether it may change records."""

    def __init__(self, zone: Zone, tokens: dict[str, bool]) -> None:
        self._zone = zone
        self._tokens = tokens

    def may_write(self, token: str) -> bool | None:
        """Whether the token may change records; None for an unknown token."""
        for known, writes in self._tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return writes
        return None

    def get(self, params: Params) -> dict[str, Any]:
        domain = self._read_domain(params)
        whole_zone = _is_true(params, "listZone") and domain == self._zone.name
        records = self._zone.records(None if whole_zone else domain)
        return self._with_zone(records=[_show(record) for record in records])

    def add(self, params: Params) -> dict[str, Any]:
        record = self._read_record(params)
        if _is_true(params, "overwrite"):
            self._zone.remove(self._zone.records(record.name, record.type))
        elif self._zone.find_same(record):
            raise ApiError("Cannot add record: record already exists.")
        self._zone.put(record)
        return self._with_zone(addedRecord=_show(record))

    def update(self, params: Params) -> dict[str, Any]:
        old = self._read_record(params)
        known = self._zone.find_same(old)
        if known is None:
            raise ApiError("Cannot update record: the record does not exist.")
        changes = {name: params.get("new" + name[0].upper() + name[1:]) for name in VALUE_PARAMETERS[old.type]}
        domain = params.get("newDomain") or old.name
        renewed = self._read_record({**params, "domain": domain} | {k: v for k, v in changes.items() if v is not None})
        renewed = replace(renewed, disabled=_is_true(params, "disable"))
        self._zone.remove([known])
        self._zone.put(renewed)
        return self._with_zone(updatedRecord=_show(renewed))

    def delete(self, params: Params) -> dict[str, Any]:
        known = self._zone.find_same(self._read_record(params))
        if known is None:
            raise ApiError("Cannot delete record: no such record exists.")
        self._zone.remove([known])
        return {}

    def disable(self, params: Params) -> dict[str, Any]:
        return self._switch(params, off=True)

    def enable(self, params: Params) -> dict[str, Any]:
        return self._switch(params, off=False)

    def _switch(self, params: Params, *, off: bool) -> dict[str, Any]:
        self._read_domain({"domain": _require(params, "zone")})
        self._zone.disabled = off
        self._zone.on_change()
        return {}

    def _read_domain(self, params: Params) -> str:
        domain = normalise_name(_require(params, "domain"))
        zone = params.get("zone") or self._zone.name
        if domain not in self._zone or normalise_name(zone) != self._zone.name:
            raise ApiError(f"No such zone was found: {params.get('zone') or domain}")
        return domain

    def _read_record(self, params: Params) -> Record:
        """The record that the parameters describe."""
        name, kind = self._read_domain(params), _require(params, "type").upper()
        if kind not in VALUE_PARAMETERS:
            raise ApiError(f"Type not supported for adding or deleting records: {kind}")
        parts = [_require(params, parameter) for parameter in VALUE_PARAMETERS[kind]]
        text = '"' + parts[0].replace("\\", "\\\\").replace('"', '\\"') + '"' if kind == "TXT" else " ".join(parts)
        try:
            value = normalise_value(kind, text)
        except InputError as error:
            raise InputError(VALUE_PARAMETERS[kind][0], error.message) from error
        return Record(name, kind, value, _read_ttl(params), comment=params.get("comments", ""))

    def _with_zone(self, **content: object) -> dict[str, Any]:
        zone = {"name": self._zone.name, "type": "Primary", "internal": False, "disabled": self._zone.disabled}
        return {"zone": zone, **content}


def _require(params: Params, name: str) -> str:
    value = params.get(name, "").strip()
    if not value:
        raise ApiError(f"Parameter '{name}' missing.")
    return value


def _is_true(params: Params, name: str) -> bool:
    return params.get(name, "").lower() == "true"


def _read_ttl(params: Params) -> int:
    text = params.get("ttl") or str(DEFAULT_TTL)
    if not text.isascii() or not text.isdigit() or int(text) > 2**31 - 1:
        raise InputError("ttl", f"{text!r} is not a number of seconds")
    return int(text)


def _show(record: Record) -> dict[str, Any]:
    rdata: dict[str, Any]
    if record.type == "SRV":
        srv = record.rdata()
        assert isinstance(srv, dns.rdtypes.IN.SRV.SRV)  # noqa: S101 - it was parsed as one
        target = srv.target.to_text(omit_final_dot=True)
        rdata = {"priority": srv.priority, "weight": srv.weight, "port": srv.port, "target": target}
    elif record.type == "TXT":
        rdata = {"text": record.value.strip('"')}
    else:
        rdata = {VALUE_PARAMETERS[record.type][0]: record.value}
    shown = {"disabled": record.disabled, "name": record.name, "type": record.type, "ttl": record.ttl, "rData": rdata}
    return shown | ({"comments": record.comment} if record.comment else {})
