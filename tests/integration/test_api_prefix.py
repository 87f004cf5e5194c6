"""The API behind a reverse proxy that shows it below a path, as `location /hostwright/` of nginx does."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from tests.support.fix_api import Api, running_api
from tests.support.fix_stack import GAME
from tests.support.http_server import Answer, Request, http_server

PREFIX = "/hostwright"
PROXY_ADDRESS = "127.0.0.2"
"""Where the proxy's requests come from. The tests' own come from 127.0.0.1."""
PUBLIC = {"public_url": f"https://example.net{PREFIX}"}
WAYS: dict[str, tuple[dict[str, str], bool, dict[str, str]]] = {
    "header": ({"trusted_proxies": PROXY_ADDRESS}, True, {"X-Forwarded-Prefix": PREFIX}),
    "public-url": (PUBLIC, True, {}),
    "public-url-and-prefix-left-on": (PUBLIC, False, {}),
}
"""By way of telling the prefix: the API's settings, whether the proxy takes the prefix off, and what it adds."""
_OWN = {"content-length", "connection", "date", "transfer-encoding"}
"""The headers of each connection itself."""


@dataclass(frozen=True)
class Site:
    """An API, and where clients see it."""

    api: Api
    url: str

    def ask(self, method: str, link: str, token: str | None, **rest: Any) -> httpx.Response:
        """The answer to a request for a link, as a client resolves it against the proxy's address."""
        target = httpx.URL(self.url).join(link)
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(method, target, headers=headers, trust_env=False, timeout=60, **rest)


@contextmanager
def reverse_proxy(origin: str, *, strips: bool, adds: dict[str, str]) -> Iterator[str]:
    """A reverse proxy that shows a server below PREFIX, and nothing else. Yields the URL there."""
    transport = httpx.HTTPTransport(local_address=PROXY_ADDRESS)
    with httpx.Client(base_url=origin, transport=transport, trust_env=False, timeout=60) as http:

        def forward(request: Request) -> Answer:
            if not request.path.startswith(f"{PREFIX}/"):
                return Answer(404, {"the proxy": "knows no such path"})
            path = request.path.removeprefix(PREFIX) if strips else request.path
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN} | adds
            found = http.request(request.method, path, content=request.body, headers=headers)
            kept = {name: value for name, value in found.headers.items() if name not in _OWN}
            return Answer(found.status_code, found.content, kept)

        with http_server(forward) as server:
            yield f"{server.url}{PREFIX}"


@pytest.fixture(params=WAYS)
def site(request: pytest.FixtureRequest, database_url: str) -> Iterator[Site]:
    """The API behind a proxy, by each way of telling it the prefix."""
    settings, strips, adds = WAYS[request.param]
    with ExitStack() as stack:
        api = stack.enter_context(running_api(database_url, **settings))
        yield Site(api, stack.enter_context(reverse_proxy(api.url, strips=strips, adds=adds)))


def test_case_d8_keeps_the_prefix_in_every_link(site: Site) -> None:
    customer = site.api.customer()
    instances = f"{PREFIX}/api/instances"
    ordered = site.ask("POST", instances, customer.token, json=GAME)
    assert ordered.status_code == 202, ordered.text
    location = ordered.headers["location"]
    assert location == ordered.json()["statusUrl"]
    operation = site.ask("GET", location, customer.token).json()
    assert operation["operationId"] == ordered.json()["operationId"]
    instance = site.ask("GET", operation["links"]["instance"], customer.token).json()
    (listed,) = site.ask("GET", f"{PREFIX}/api/servers", customer.token).json()["servers"]
    assert listed["id"] == instance["serverId"]
    for entry in (operation, instance):
        for name, link in entry["links"].items():
            assert link.startswith(f"{PREFIX}/api/"), name
            if name not in ("cancel", "retry", "stream"):
                assert site.ask("GET", link, customer.token).status_code == 200, name
    (again,) = site.ask("GET", f"{PREFIX}/api/instances/operations", customer.token).json()["operations"]
    assert again["links"] == operation["links"]
    cancelled = site.ask("POST", operation["links"]["cancel"], customer.token)
    assert (cancelled.status_code, cancelled.headers["location"]) == (202, location)
    followed = site.ask("GET", operation["links"]["stream"], customer.token)
    assert f'"self":"{location}"' in followed.text
    assert followed.text.endswith('event: end\ndata: {"status":"cancelled"}\n\n')
    assert site.ask("DELETE", instance["links"]["self"], customer.token).headers["location"].startswith(instances)
    site.api.query(
        "insert into instance (id, customer_id, ctype, spec, memory_mib, cpu_cores, created_at) "
        "select gen_random_uuid(), customer_id, ctype, spec, memory_mib, cpu_cores, now() "
        "from instance, generate_series(1, 1000) where customer_id = %s",
        customer.customer_id,
    )
    following = site.ask("GET", f"{PREFIX}/api/servers", customer.token).links["next"]["url"]
    assert len(site.ask("GET", following, customer.token).json()["instances"]) == 1
    document = site.ask("GET", f"{PREFIX}/openapi.json", None).json()
    assert document["servers"] == [{"url": PREFIX}]


def test_case_d8_the_command_line_works_below_a_path(site: Site) -> None:
    customer = site.api.customer()

    def run(*arguments: str) -> str:
        environment = {"HOSTWRIGHT_URL": site.url, "HOSTWRIGHT_TOKEN": str(customer.token)}
        result = CliRunner().invoke(app, list(arguments), env=environment)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    def complete() -> None:
        while not (found := customer.get("/api/instances/operations").json()["operations"]):
            pass
        site.api.complete(found[0])

    worker = threading.Thread(target=complete)
    worker.start()
    watched = run("create", "game", "--variant", "vanilla", "--version", "1.21.7", "--watch")
    worker.join()
    assert "succeeded" in watched
    assert "ready" in run("list")
    assert "accepted" in run("delete", "5000")


def test_case_d8_believes_no_stranger_about_the_prefix(database_url: str) -> None:
    with running_api(database_url, trusted_proxies=PROXY_ADDRESS) as api:
        accepted = api.customer().post(GAME, X_Forwarded_Prefix="/evil", X_Forwarded_For=PROXY_ADDRESS)
        assert accepted.headers["location"] == accepted.json()["statusUrl"]
        assert accepted.headers["location"].startswith("/api/instances/operations/")
        document = api.http.get("/openapi.json", headers={"X-Forwarded-Prefix": "/evil"})
        assert document.json()["servers"] == [{"url": "/"}]
        assert api.http.get("/evil/healthz", headers={"X-Forwarded-Prefix": "/evil"}).status_code == 404
