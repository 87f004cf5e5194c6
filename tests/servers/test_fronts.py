"""A stream through nginx and through Caddy, with TLS."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from orchestrator.store.connection import Database
from tests.integration.test_api_stream import begin, finish, log_of, say
from tests.servers.fronts import FRONTS, running_front
from tests.support.fix_api import Api, Caller, running_api
from tests.support.sse import following

PROMPT_SECONDS = 1.0


@pytest.fixture
def api(database_url: str, database: Database) -> Iterator[Api]:
    """An API of which a token may open one stream, which shows whether the one before was noticed to be left."""
    with running_api(database_url, streams_per_token="1", trusted_proxies="127.0.0.1") as running:
        yield running


@pytest.mark.parametrize("name", FRONTS)
def test_streams_through_a_front(api: Api, name: str, tmp_path: Path) -> None:
    direct = api.customer()
    path, lease = begin(api, direct)
    with running_front(name, tmp_path, api.url) as (url, tls), httpx.Client(base_url=url, verify=tls) as http:
        customer: Caller = replace(direct, http=http)
        with following(customer, path, verify=tls) as events:
            assert next(events).data["status"] == "running"
            for number in range(5):
                said = time.monotonic()
                say(api, lease, f"line {number}")
                seen = next(event for event in events if f"line {number}" in str(event.data))
                assert time.monotonic() - said < PROMPT_SECONDS, "the front holds back what comes"
        deadline = time.monotonic() + 5
        while customer.request("HEAD", path).status_code == 429:
            assert time.monotonic() < deadline, "the front hides that the client left"
            time.sleep(0.05)
        say(api, lease, "while nobody was there")
        finish(api, lease)
        with following(customer, path, seen.last_id, verify=tls) as events:
            rest = list(events)
        missed = [event.data for event in rest if event.name == "log"]
        assert missed == [line for line in log_of(direct, path) if line["seq"] > seen.data["seq"]]
        assert rest[-1].name == "end"
