"""The lab's Velocity bridge: its API and its callbacks."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import pytest

from tests.support.fix_lab import Lab, running_lab
from tests.support.lab_proxy import bridge_client, dead_port, header, ping, registration


def test_register_is_idempotent_for_the_same_address_only(lab: Lab, bridge: httpx.Client) -> None:
    for _ in range(2):
        assert bridge.post("/zpack/register", json=registration("MC-Vanilla-5000", 25565)).is_success
    other = bridge.post("/zpack/register", json=registration("mc-vanilla-5000", 25566))
    assert other.status_code == 409
    listed = [{"name": "mc-vanilla-5000", "address": "127.0.0.1", "port": 25565}]
    assert bridge.get("/zpack/status").json() == {"servers": listed}
    assert lab.inventory()["registrations"] == listed


def test_unregister_takes_away_and_is_404_for_an_unknown_name(bridge: httpx.Client) -> None:
    bridge.post("/zpack/register", json=registration("mc-vanilla-5001", 25565))
    assert bridge.post("/zpack/unregister", json={"server_name": "MC-vanilla-5001"}).is_success
    assert bridge.post("/zpack/unregister", json={"server_name": "mc-vanilla-5001"}).status_code == 404
    assert bridge.get("/zpack/status").json() == {"servers": []}


def test_register_takes_a_form_too(bridge: httpx.Client) -> None:
    assert bridge.post("/zpack/register", data=registration("mc-vanilla-5002", 25565)).is_success
    assert bridge.get("/zpack/status").json()["servers"][0]["port"] == 25565
    assert bridge.post("/zpack/unregister", data={"server_name": "mc-vanilla-5002"}).is_success


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"address": "127.0.0.1", "port": 1}, "server_name"),
        ({"server_name": "x", "port": 1}, "address"),
        ({"server_name": "x", "address": "127.0.0.1", "port": 70000}, "port"),
        ([], "body"),
    ],
)
def test_register_names_the_bad_field(bridge: httpx.Client, body: object, field: str) -> None:
    response = bridge.post("/zpack/register", json=body)
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{field}:")


def test_every_call_needs_the_secret(lab: Lab) -> None:
    for headers in ({}, {"X-Zpack-Secret": lab.secrets["velocity_secret"]}):
        url = lab.urls["velocityUrl"] + "/zpack/status"
        assert httpx.get(url, headers=headers, trust_env=False).status_code == 401


def test_bridge_with_a_fault_fails_as_often_as_told(clean_lab: Lab, bridge: httpx.Client) -> None:
    clean_lab.fault(target="velocity", httpStatus=500, method="POST", times=1)
    assert bridge.get("/zpack/status").is_success
    assert bridge.post("/zpack/unregister", json={"server_name": "none"}).status_code == 500
    assert bridge.post("/zpack/unregister", json={"server_name": "none"}).status_code == 404


# The callbacks


@contextmanager
def receive_callbacks() -> Iterator[tuple[str, Queue[tuple[str, dict[str, Any]]]]]:
    """Run an HTTP server that keeps its calls; gives its URL, and a queue of (secret header, body) of each call."""
    calls: Queue[tuple[str, dict[str, Any]]] = Queue()

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            calls.put((self.headers["X-Zpack-Secret"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receive) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/internal/velocity/proxy-status", calls
        server.shutdown()
        thread.join()


def test_bridge_reports_the_registration_and_then_a_real_ping(tmp_path: Path, backend_port: int) -> None:
    with (
        receive_callbacks() as (url, calls),
        running_lab(tmp_path, speed=0, arguments=("--callback-url", url)) as lab,
        closing(bridge_client(lab)) as bridge,
        dead_port() as dead,
    ):
        bridge.post("/zpack/register", json=registration("mc-vanilla-5020", backend_port))
        seen = [calls.get(timeout=10) for _ in range(2)]
        bridge.post("/zpack/register", json=registration("mc-vanilla-5021", dead))
        seen += [calls.get(timeout=10) for _ in range(2)]
        secret = header(lab)["X-Zpack-Secret"]
    assert {given for given, _ in seen} == {secret}
    assert [(body["server_name"], body["event"]) for _, body in seen] == [
        ("mc-vanilla-5020", "registered_with_proxy"),
        ("mc-vanilla-5020", "proxy_ping_ok"),
        ("mc-vanilla-5021", "registered_with_proxy"),
        ("mc-vanilla-5021", "proxy_ping_failed"),
    ]


def test_bridge_answers_when_nobody_takes_its_callbacks(tmp_path: Path, backend_port: int) -> None:
    with (
        dead_port() as dead,
        running_lab(tmp_path, speed=0, arguments=("--callback-url", f"http://127.0.0.1:{dead}/")) as lab,
        closing(bridge_client(lab)) as bridge,
    ):
        body = registration("mc-vanilla-5022", backend_port)
        assert bridge.post("/zpack/register", json=body).is_success
        assert ping(lab.urls["edgeAddress"], "mc-vanilla-5022").startswith("asked for")
