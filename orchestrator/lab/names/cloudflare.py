"""A stand-in for Cloudflare's API (v4), as far as DNS records need it: envelopes, codes, rights and pages."""

import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from orchestrator.lab.errors import InputError
from orchestrator.lab.faults import Fault, Faults
from orchestrator.lab.names.cloudflare_records import ApiError, parse_record, show_record
from orchestrator.lab.names.zones import Record, Zone
from orchestrator.lab.servers.http import read_json, with_faults

RECORDS = "/client/v4/zones/{zone_id}/dns_records"
MAX_PER_PAGE = 5000
IDENTICAL = {"A": 81057, "AAAA": 81057, "CNAME": 81057}
"""The code of an identical record, which is 81058 for the other types. Clients have to know both."""


def make_application(zone: Zone, *, zone_id: str, token: str, readonly_token: str, faults: Faults) -> web.Application:
    """The API over this zone. Both tokens have rights in this zone only."""
    api = _Api(zone, zone_id, {token: True, readonly_token: False})
    app = web.Application(middlewares=[with_faults("cloudflare", faults, _answer_fault), _wrap_failures])
    app.router.add_get(RECORDS, api.list)
    app.router.add_post(RECORDS, api.create)
    app.router.add_get(RECORDS + "/{record_id}", api.show)
    app.router.add_put(RECORDS + "/{record_id}", api.overwrite)
    app.router.add_patch(RECORDS + "/{record_id}", api.update)
    app.router.add_delete(RECORDS + "/{record_id}", api.delete)
    return app


def _answer_fault(fault: Fault) -> web.Response | None:
    if "httpStatus" not in fault:
        return None
    error = ApiError(fault["httpStatus"], fault.get("code", 10000), fault.get("message", "Injected fault"))
    return _make_failure(error)


def _make_failure(error: ApiError) -> web.Response:
    errors = [{"code": error.code, "message": error.message}]
    body = {"success": False, "errors": errors, "messages": [], "result": None}
    return web.json_response(body, status=error.status)


def _make_success(result: object, **more: object) -> web.Response:
    return web.json_response({"success": True, "errors": [], "messages": [], "result": result, **more})


@web.middleware
async def _wrap_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put every failure into Cloudflare's envelope."""
    try:
        return await handler(request)
    except ApiError as error:
        return _make_failure(error)
    except InputError as error:
        return _make_failure(ApiError(400, 1004, f"DNS Validation Error: {error}"))
    except web.HTTPNotFound:
        return _make_failure(ApiError(400, 7000, "No route for that URI"))
    except web.HTTPMethodNotAllowed:
        return _make_failure(ApiError(405, 10405, "Method not allowed for this authentication scheme"))


class _Api:
    """The calls of the API. `tokens` says of each token whether it may change records."""

    def __init__(self, zone: Zone, zone_id: str, tokens: dict[str, bool]) -> None:
        self._zone = zone
        self._zone_id = zone_id
        self._tokens = tokens

    async def list(self, request: web.Request) -> web.Response:
        self._authorize(request, write=False)
        name = request.query.get("name.exact") or request.query.get("name")
        records = self._zone.records(name and name.lower().rstrip("."), request.query.get("type"))
        content, comment = request.query.get("content"), request.query.get("comment.contains", "")
        matching = [
            entry
            for entry in (show_record(record, self._zone) for record in records)
            if content in (None, entry["content"]) and comment in (entry["comment"] or "")
        ]
        page, per_page = _read_number(request.query, "page", 1), _read_number(request.query, "per_page", 100)
        per_page = min(per_page, MAX_PER_PAGE)
        result = matching[(page - 1) * per_page : page * per_page]
        info = {
            "page": page,
            "per_page": per_page,
            "count": len(result),
            "total_count": len(matching),
            "total_pages": -(-len(matching) // per_page),
        }
        return _make_success(result, result_info=info)

    async def show(self, request: web.Request) -> web.Response:
        self._authorize(request, write=False)
        return _make_success(show_record(self._find_record(request), self._zone))

    async def create(self, request: web.Request) -> web.Response:
        self._authorize(request, write=True)
        return self._store(parse_record(await read_json(request), self._zone))

    async def overwrite(self, request: web.Request) -> web.Response:
        self._authorize(request, write=True)
        known = self._find_record(request)
        return self._store(replace(parse_record(await read_json(request), self._zone), id=known.id))

    async def update(self, request: web.Request) -> web.Response:
        self._authorize(request, write=True)
        known = self._find_record(request)
        body = {**_as_body(show_record(known, self._zone)), **await read_json(request)}
        return self._store(replace(parse_record(body, self._zone), id=known.id))

    async def delete(self, request: web.Request) -> web.Response:
        self._authorize(request, write=True)
        record = self._find_record(request)
        self._zone.remove([record])
        return _make_success({"id": record.id})

    def _authorize(self, request: web.Request, *, write: bool) -> None:
        """Raises ApiError unless the token has this right in this zone."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ApiError(400, 6003, "Invalid request headers")
        rights = [
            may_write
            for known, may_write in self._tokens.items()
            if hmac.compare_digest(known.encode(), token.strip().encode())
        ]
        if not rights:
            raise ApiError(401, 10000, "Authentication error")
        zone_id = request.match_info["zone_id"]
        if len(zone_id) != 32 or not set(zone_id) <= set("0123456789abcdef"):
            path = f"/zones/{zone_id}/dns_records"
            raise ApiError(400, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?")
        if zone_id != self._zone_id or (write and not rights[0]):
            raise ApiError(403, 10000, "Authentication error")

    def _find_record(self, request: web.Request) -> Record:
        record = self._zone.get(request.match_info["record_id"])
        if record is None:
            raise ApiError(404, 81044, "Record does not exist.")
        return record

    def _store(self, record: Record) -> web.Response:
        if self._zone.find_same(record):
            raise ApiError(400, IDENTICAL.get(record.type, 81058), "An identical record already exists.")
        others = {r.type for r in self._zone.records(record.name) if r.id != record.id}
        if record.type == "CNAME" and others & {"A", "AAAA", "CNAME"}:
            message = "An A, AAAA, or CNAME record with that host already exists."
            raise ApiError(400, 81053, message)
        if record.type in ("A", "AAAA") and "CNAME" in others:
            raise ApiError(400, 81054, "A CNAME record with that host already exists.")
        return _make_success(show_record(self._zone.put(record), self._zone))


def _as_body(entry: dict[str, Any]) -> dict[str, Any]:
    """The body that a client would have sent for the record."""
    names = ("type", "name", "data" if "data" in entry else "content", "ttl", "proxied", "comment")
    return {name: entry[name] for name in names}


def _read_number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10**9:
        raise InputError(name, "must be a whole number of at least 1")
    return int(text)
