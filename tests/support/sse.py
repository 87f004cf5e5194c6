"""A client of server-sent events, which reads what the standard says a browser reads."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.fix_api import Caller

PATIENCE = httpx.Timeout(30)


@dataclass(frozen=True)
class Event:
    """One event, with the id that a client would come back with after it."""

    name: str
    data: Any
    last_id: str | None


@contextmanager
def following(
    caller: Caller, path: str, last_id: str | None = None, *, verify: ssl.SSLContext | bool = True
) -> Iterator[Iterator[Event]]:
    """The events of a stream, as they come. The connection is the stream's own, and is closed at the end."""
    headers = {"Authorization": f"Bearer {caller.token}"} | ({"Last-Event-ID": last_id} if last_id else {})
    url = caller.http.base_url.join(path)
    with (
        httpx.Client(trust_env=False, timeout=PATIENCE, verify=verify) as http,
        http.stream("GET", url, headers=headers) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield read_events(answer.iter_lines(), last_id)


def read_events(lines: Iterator[str], last_id: str | None = None) -> Iterator[Event]:
    """The events in a stream's lines. One without its empty line at the end has not come."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            last_id = value
        if name:
            fields[name] = value
        elif "data" in fields:
            yield Event(fields["event"], json.loads(fields["data"]), last_id)
            fields = {}
        else:
            fields = {}
