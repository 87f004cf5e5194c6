"""Fixtures: the proxy of the shared lab, with a client of its bridge and a backend for players."""

from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.support.fix_lab import Lab
from tests.support.lab_proxy import bridge_client, minecraft_backend


@pytest.fixture(scope="module")
def backend_port() -> Iterator[int]:
    """The port of a tiny Minecraft server on loopback."""
    with minecraft_backend() as port:
        yield port


@pytest.fixture
def bridge(lab: Lab) -> Iterator[httpx.Client]:
    """A client of the bridge. Afterwards the proxy forgets every registration."""
    with closing(bridge_client(lab)) as client:
        yield client
    lab.restart_proxy()
