"""The proxy drivers against real HTTP servers that behave as facts say the odd ones do."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from orchestrator.domain.publications import Publication
from orchestrator.drivers.players.reachability import CheckError, Instance, checks, run
from orchestrator.drivers.proxy.base import Backend, ProxyDriver, Registration
from orchestrator.drivers.proxy.factory import open_proxy, parse_proxy, publications_of
from orchestrator.drivers.result import LaterError, PhaseError
from orchestrator.drivers.secrets import Secrets
from tests.support.http_server import Answer, Request, http_server

NAME, ZONES = "mc-vanilla-5000", ("Lab.Internal", "lab.example.")
HOSTS = ["mc-vanilla-5000.lab.internal", "mc-vanilla-5000.lab.example"]
SERVER = "f1e2d3c4-0000-4000-8000-000000005000"
SECRET = "planted-proxy-secret"


class Router:
    """mc-router's API: routes by host, upserts, 404 for what is absent. Older ones answer plain strings."""

    def __init__(self, *, old: bool = False) -> None:
        self.routes = {"other.lab.example": "10.0.0.9:25565"}
        self.old = old

    def __call__(self, request: Request) -> Answer:
        if request.method == "GET":
            plain = self.routes
            return Answer(200, plain if self.old else {host: {"backend": to} for host, to in plain.items()})
        if request.method == "POST":
            self.routes[request.json["serverAddress"]] = request.json["backend"]
            return Answer(201, b"")
        host = unquote(request.path.removeprefix("/routes/"))
        return Answer(200 if self.routes.pop(host, None) else 404, b"")


class SilentBridge:
    """A bridge that keeps registrations, refuses another address under a known name, and lists nothing."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, int]] = {}
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Answer:
        if request.method == "GET":
            return Answer(200, {"servers": []})
        body = read(request)
        self.bodies.append(body)
        name = body["server_name"].lower()
        if request.path == "/zpack/unregister":
            return Answer(200 if self.known.pop(name, None) else 404, {})
        address = body["address"], int(body["port"])
        if self.known.setdefault(name, address) != address:
            return Answer(409, {"error": f"{name} is taken"})
        return Answer(200, {"ok": True})


def read(request: Request) -> dict[str, Any]:
    if request.headers["Content-Type"] == "application/json":
        return dict(request.json)
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def driver(tmp_path: Path, url: str, kind: str, **more: Any) -> ProxyDriver:
    secrets = tmp_path / "secrets.json"
    secrets.touch(0o600)
    secrets.write_text(json.dumps({"velocity_secret": SECRET}))
    secret = "velocity_secret" if kind == "zpack-bridge" else ""
    proxy = parse_proxy({"driver": kind, "url": url, "secret": secret, **more})
    return open_proxy(proxy, Secrets(secrets), run=no_host, timeout=2)


def remove(proxy: ProxyDriver, address: str, *, check: bool = False) -> bool:
    """As it was published with that address."""
    return proxy.remove(publications_of(proxy.proxy, wanted(address)), SERVER, check=check)


def no_host(module: str, arguments: dict[str, Any]) -> dict[str, Any]:
    raise AssertionError(f"{module} was run for a proxy with an API")


def wanted(address: str, zones: Sequence[str] = ZONES) -> Registration:
    return Registration(NAME, SERVER, address, 25565, zones)


@pytest.mark.parametrize("old", [False, True], ids=["current", "older"])
def test_mcrouter_ensures_moves_and_removes_all_host_names(tmp_path: Path, old: bool) -> None:
    router = Router(old=old)
    with http_server(router) as server:
        proxy = driver(tmp_path, server.url, "mc-router")
        assert proxy.ensure(wanted("10.0.0.1"), check=True)
        assert set(router.routes) == {"other.lab.example"}
        assert proxy.ensure(wanted("10.0.0.1"))
        assert {router.routes[host] for host in HOSTS} == {"10.0.0.1:25565"}
        assert not proxy.ensure(wanted("10.0.0.1"))
        assert proxy.ensure(wanted("10.0.0.2"))
        assert proxy.routes(wanted("10.0.0.2"), proxy.backends())
        assert not proxy.routes(wanted("10.0.0.1"), proxy.backends())
        assert not remove(proxy, "10.0.0.1"), "that is not what is there"
        assert remove(proxy, "10.0.0.2", check=True)
        assert remove(proxy, "10.0.0.2")
        assert not remove(proxy, "10.0.0.2")
    assert router.routes == {"other.lab.example": "10.0.0.9:25565"}


def test_mcrouter_leaves_the_same_short_name_in_another_zone_alone(tmp_path: Path) -> None:
    router = Router()
    router.routes = {f"{NAME}.another.site": "10.0.0.9:25565"}
    with http_server(router) as server:
        proxy = driver(tmp_path, server.url, "mc-router")
        assert proxy.ensure(wanted("10.0.0.1"))
        assert proxy.routes(wanted("10.0.0.1"), proxy.backends())
        assert remove(proxy, "")
        assert not proxy.routes(wanted("10.0.0.1"), proxy.backends())
    assert router.routes == {f"{NAME}.another.site": "10.0.0.9:25565"}


@pytest.mark.parametrize("encoding", ["json", "form"])
def test_bridge_that_lists_nothing_still_gets_the_new_address(tmp_path: Path, encoding: str) -> None:
    bridge = SilentBridge()
    with http_server(bridge) as server:
        proxy = driver(tmp_path, server.url, "zpack-bridge", encoding=encoding)
        proxy.ensure(wanted("10.0.0.1"))
        assert proxy.ensure(wanted("10.0.0.2"))
        assert bridge.known == {NAME: ("10.0.0.2", 25565)}
        assert remove(proxy, "10.0.0.2")
        assert not remove(proxy, "10.0.0.2")
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    assert {request.headers["X-Zpack-Secret"] for request in server.requests} == {digest}


def test_pain_2_bridge_registers_and_unregisters_under_the_same_short_name(tmp_path: Path) -> None:
    bridge = SilentBridge()
    with http_server(bridge) as server:
        proxy = driver(tmp_path, server.url, "zpack-bridge")
        proxy.ensure(wanted("10.0.0.1"))
        remove(proxy, "10.0.0.1")
    assert [body["server_name"] for body in bridge.bodies] == [NAME, NAME]
    assert bridge.known == {}


def test_verify_takes_a_bridge_that_lists_nothing_as_acknowledged(tmp_path: Path) -> None:
    instance = Instance(wanted("10.0.0.1"), None, [])
    with http_server(SilentBridge()) as server:
        check = next(
            one for one in checks(instance, driver(tmp_path, server.url, "zpack-bridge")) if one.name == "proxy"
        )
        assert check.run(1).startswith("acknowledged, not verified")


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        ([{"name": "other", "address": "10.0.0.9", "port": 1}], f"does not list {NAME}; expected 10.0.0.1:25565"),
        ([{"name": NAME, "address": "10.0.0.7", "port": 25565}], f"lists {NAME} with 10.0.0.7:25565; expected"),
    ],
    ids=["absent", "other address"],
)
def test_verify_says_what_the_proxy_lists_instead(tmp_path: Path, servers: list[dict[str, Any]], words: str) -> None:
    instance = Instance(wanted("10.0.0.1"), None, [])
    with http_server(lambda _: Answer(200, {"servers": servers})) as server:
        check = next(
            one for one in checks(instance, driver(tmp_path, server.url, "zpack-bridge")) if one.name == "proxy"
        )
        with pytest.raises(CheckError, match=words):
            check.run(1)


@pytest.mark.parametrize("kind", ["zpack-bridge", "mc-router"])
def test_refusal_is_velocity_failed_in_the_proxys_words(tmp_path: Path, kind: str) -> None:
    with http_server(lambda _: Answer(500, {"error": "out of order"})) as server:
        proxy = driver(tmp_path, server.url, kind)
        with pytest.raises(PhaseError, match="out of order") as caught:
            proxy.ensure(wanted("10.0.0.1"))
    assert caught.value.code == "velocity-failed"


UNREADABLE = {
    "no JSON": b"<html>welcome</html>",
    "no object": [],
    "no list": {"ok": True},
    "null": {"servers": None},
    "no server": {"servers": ["mc-vanilla-5000"]},
    "no port": {"servers": [{"name": "mc-vanilla-5000", "address": "10.0.0.1", "port": None}]},
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
def test_bridge_whose_answer_cannot_be_read_is_not_one_that_lists_nothing(tmp_path: Path, answer: Any) -> None:
    with http_server(lambda _: Answer(200, answer)) as server:
        proxy = driver(tmp_path, server.url, "zpack-bridge")
        with pytest.raises(PhaseError, match=f"^proxy zpack-bridge at {server.url}: ") as caught:
            proxy.ensure(wanted("10.0.0.1"))
        assert caught.value.code == "velocity-failed"
        with pytest.raises(PhaseError, match=f"^proxy zpack-bridge at {server.url}: "):
            remove(proxy, "10.0.0.1")
        check = next(one for one in checks(Instance(wanted("10.0.0.1"), None, []), proxy) if one.name == "proxy")
        with pytest.raises(CheckError, match="zpack-bridge"):
            check.run(1)
    assert {request.method for request in server.requests} == {"GET"}


def test_backend_is_compared_in_lower_case(tmp_path: Path) -> None:
    listed = {"servers": [{"name": "MC-Vanilla-5000", "address": "10.0.0.1", "port": "25565"}]}
    with http_server(lambda _: Answer(200, listed)) as server:
        proxy = driver(tmp_path, server.url, "zpack-bridge")
        assert proxy.backends() == [Backend(NAME, "10.0.0.1", 25565)]
        assert not proxy.ensure(wanted("10.0.0.1"))


@pytest.mark.parametrize(
    ("listed", "published", "removed"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.9", "10.0.0.1", False),
        ("10.0.0.9", "", True),
    ],
    ids=["as published", "another's by now", "by hand"],
)
def test_bridge_unregisters_only_what_is_as_it_was_published(
    tmp_path: Path, listed: str, published: str, removed: bool
) -> None:
    servers = [{"name": NAME, "address": listed, "port": 25565}]
    with http_server(lambda _: Answer(200, {"servers": servers})) as server:
        assert remove(driver(tmp_path, server.url, "zpack-bridge"), published) is removed
    assert ("POST /zpack/unregister" in server.calls) is removed


def test_publications_say_what_was_made_where() -> None:
    by_port = {"driver": "traefik", "host": "edge-1", "directory": "/etc/traefik/dynamic"}
    by_name = {"url": "http://x", "secret": "s"}
    made = [
        publications_of(parse_proxy(entry), wanted("10.0.0.1"))
        for entry in (by_port, by_name | {"driver": "zpack-bridge"}, by_name | {"driver": "mc-router"})
    ]
    value = "10.0.0.1:25565"
    assert made == [
        [Publication("traefik", "edge-1:/etc/traefik/dynamic", "file", NAME, value)],
        [Publication("zpack-bridge", "proxy", "backend", NAME, value)],
        [Publication("mc-router", "proxy", "route", host, value) for host in HOSTS],
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"driver": "gate", "url": "http://x"}, "unknown driver gate; known: zpack-bridge, mc-router, traefik"),
        ({}, "missing driver"),
        ({"driver": "zpack-bridge", "secret": "s"}, "missing url"),
        ({"driver": "zpack-bridge", "url": "http://x"}, "missing secret"),
        ({"driver": "zpack-bridge", "url": "http://x", "secret": "s", "encoding": "xml"}, "encoding is neither"),
        ({"driver": "mc-router", "url": "http://x", "port": 1}, "unknown port"),
        ({"driver": "traefik", "directory": "/etc/traefik/dynamic"}, "missing host"),
    ],
    ids=["driver", "no driver", "url", "secret", "encoding", "typo", "host"],
)
def test_typo_in_the_inventory_is_named(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(PhaseError, match=f"hostwright_proxy or hostwright_entry_points is wrong: {words}") as caught:
        parse_proxy(entry)
    assert caught.value.code == "internal"


@pytest.mark.parametrize("kind", ["zpack-bridge", "mc-router"])
@pytest.mark.parametrize("writes", [False, True], ids=["read", "written"])
def test_case_b7_proxy_that_wants_to_be_left_alone_gets_no_other_request(
    tmp_path: Path, kind: str, writes: bool
) -> None:
    listed = {"servers": [{"name": "other", "address": "10.0.0.9", "port": 25565}]} if kind == "zpack-bridge" else {}

    def respond(request: Request) -> Answer:
        limited = (request.method != "GET") is writes
        return Answer(429, {"error": "slow down"}, {"Retry-After": "300"}) if limited else Answer(200, listed)

    with http_server(respond) as server, pytest.raises(LaterError) as caught:
        driver(tmp_path, server.url, kind).ensure(wanted("10.0.0.1"))
    assert len(server.requests) == (2 if writes else 1), server.calls
    assert (caught.value.code, caught.value.asked) == ("velocity-failed", True)
    assert "it wants to be left alone until" in caught.value.message


@pytest.mark.parametrize("kind", ["zpack-bridge", "mc-router"])
def test_case_b7_registration_without_an_answer_is_judged_by_what_is_there(tmp_path: Path, kind: str) -> None:
    registered: list[Request] = []

    def respond(request: Request) -> Answer | None:
        if request.method != "GET":
            registered.append(request)
            return None
        hosts = {host: {"backend": "10.0.0.1:25565"} for host in HOSTS[: len(registered)]}
        servers = [{"name": NAME, "address": "10.0.0.1", "port": 25565}][: len(registered)]
        return Answer(200, {"servers": servers} if kind == "zpack-bridge" else hosts)

    with http_server(respond) as server:
        assert driver(tmp_path, server.url, kind).ensure(wanted("10.0.0.1"))
    assert len(registered) == (1 if kind == "zpack-bridge" else len(HOSTS)), server.calls


def test_case_b7_verify_leaves_a_proxy_alone_that_asks_for_it(tmp_path: Path) -> None:
    with http_server(lambda _: Answer(429, {}, {"Retry-After": "30"})) as server:
        proxy = driver(tmp_path, server.url, "zpack-bridge")
        todo = [one for one in checks(Instance(wanted("10.0.0.1"), None, []), proxy) if one.name == "proxy"]
        with pytest.raises(LaterError):
            run(todo, time.monotonic() + 3)
