"""The proxy at the lab's edge addresses, as a player's client meets it."""

import asyncio
import socket
from contextlib import closing

import httpx
import pytest

from orchestrator.lab.edge.minecraft import encode_frame, encode_handshake
from orchestrator.lab.edge.registrations import Registrations
from orchestrator.lab.edge.router import PlayerRouter
from tests.support.fix_lab import Lab
from tests.support.lab_proxy import dead_port, ping, registration


def internal_edge(lab: Lab) -> str:
    return f"{lab.site['dns'][0]['address']}:25565"


def is_closed(address: str, data: bytes) -> bool:
    """Whether the proxy closes the connection without an answer."""
    ip, _, port = address.partition(":")
    with socket.create_connection((ip, int(port)), timeout=5) as connection:
        connection.sendall(data)
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


def test_edge_routes_by_the_first_label_of_the_host(lab: Lab, bridge: httpx.Client, backend_port: int) -> None:
    bridge.post("/zpack/register", json=registration("mc-vanilla-5010", backend_port))
    hosts = (
        "mc-vanilla-5010.lab.example",
        "MC-Vanilla-5010.LAB.example.",
        "mc-vanilla-5010",
        "mc-vanilla-5010.",
    )
    for host in hosts:
        assert ping(lab.urls["edgeAddress"], host) == f"asked for {host!r}"
    modded = "mc-vanilla-5010.lab.example\0FML3\0"
    assert ping(internal_edge(lab), modded) == f"asked for {modded!r}"


def test_edge_closes_for_an_unknown_host_and_for_a_dead_backend(lab: Lab, bridge: httpx.Client) -> None:
    with dead_port() as dead:
        bridge.post("/zpack/register", json=registration("mc-vanilla-5011", dead))
        for host in ("mc-vanilla-5011.lab.example", "mc-vanilla-5012.lab.example", ""):
            assert is_closed(lab.urls["edgeAddress"], encode_handshake(host, 25565) + encode_frame(0, b""))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: mc.example\r\n".ljust(100, b"x"),
        b"\xff\xff\xff\xff\x07",
        b"\x00",
        encode_frame(0, b"\x80\x80\x80\x80\x80\x80"),
        encode_frame(0, b"\x00\x7fshort"),
        encode_frame(0, b"\x00\x02\xff\xff\x00\x00\x01"),
        encode_frame(1, b"\x00"),
    ],
)
def test_edge_closes_for_what_is_no_handshake(lab: Lab, data: bytes) -> None:
    assert is_closed(lab.urls["edgeAddress"], data)


def test_edge_closes_for_a_client_that_says_nothing() -> None:
    async def connect_in_silence() -> bytes:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        router = PlayerRouter(Registrations(), ["127.0.0.1"], port, handshake_seconds=0.1)
        await router.start()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(5):
                answer = await reader.read()
            writer.close()
            return answer
        finally:
            await router.close()

    assert asyncio.run(connect_in_silence()) == b""


def test_restarted_proxy_ends_connections_and_forgets(lab: Lab, bridge: httpx.Client, backend_port: int) -> None:
    bridge.post("/zpack/register", json=registration("mc-vanilla-5013", backend_port))
    ip, _, port = lab.urls["edgeAddress"].partition(":")
    with socket.create_connection((ip, int(port)), timeout=5) as player:
        player.sendall(encode_handshake("mc-vanilla-5013", 25565) + encode_frame(0, b""))
        assert player.recv(1) != b""
        lab.restart_proxy()
        while player.recv(4096):
            pass
    assert lab.inventory()["registrations"] == []
    assert is_closed(lab.urls["edgeAddress"], encode_handshake("mc-vanilla-5013", 25565))
    bridge.post("/zpack/register", json=registration("mc-vanilla-5013", backend_port))
    assert ping(lab.urls["edgeAddress"], "mc-vanilla-5013").startswith("asked for")
