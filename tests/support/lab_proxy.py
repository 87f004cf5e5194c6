"""A tiny Minecraft server, a client of the lab's bridge and a player's ping, for tests of the lab's proxy."""

import asyncio
import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from mcstatus._net.address import Address
from mcstatus._protocol.io.connection import TCPSocketConnection
from mcstatus._protocol.java_client import JavaClient

from orchestrator.lab.edge.minecraft import encode_frame, encode_string, read_frame, read_handshake
from tests.support.fix_lab import Lab
from tests.support.loop_thread import LoopThread

STATUS = {
    "version": {"name": "1.21.7", "protocol": 772},
    "description": "a backend",
}


@contextmanager
def minecraft_backend() -> Iterator[int]:
    """A tiny Minecraft server on loopback; gives its port."""
    thread = LoopThread()
    server = thread.run(asyncio.start_server(_serve_status, "127.0.0.1", 0))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        thread.soon(server.close)
        thread.close()


async def _serve_status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers a status request and then a ping; reports the host it was asked for, and its port as its most players."""
    try:
        host = (await read_handshake(reader)).host
        await read_frame(reader, 16)
        players = {"online": 3, "max": writer.get_extra_info("sockname")[1]}
        status = STATUS | {"players": players, "description": f"asked for {host!r}"}
        writer.write(encode_frame(0, encode_string(json.dumps(status))))
        raw, _ = await read_frame(reader, 16)
        writer.write(raw)
        await writer.drain()
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()


def bridge_client(lab: Lab) -> httpx.Client:
    return httpx.Client(base_url=lab.urls["velocityUrl"], trust_env=False, headers=header(lab))


def header(lab: Lab) -> dict[str, str]:
    return {"X-Zpack-Secret": hashlib.sha256(lab.secrets["velocity_secret"].encode()).hexdigest()}


def registration(name: str, port: int) -> dict[str, Any]:
    return {"server_name": name, "address": "127.0.0.1", "port": port}


def ping(address: str, host: str) -> str:
    """The description that mcstatus reads for this name at this edge address, after its latency check."""
    ip, _, port = address.partition(":")
    with TCPSocketConnection(Address(ip, int(port)), timeout=5) as connection:
        client = JavaClient(connection, address=Address(host, int(port)), version=772)
        client.handshake()
        status = client.read_status()
        client.test_ping()
    return status.motd.to_plain()


@contextmanager
def dead_port() -> Iterator[int]:
    """A port where nothing listens and that nobody else gets meanwhile."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]
