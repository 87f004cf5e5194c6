"""The status ping against servers that behave and servers that do not."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.drivers.players.minecraft import LARGEST_PACKET, PingError, ping, plain_text, split_varint, varint
from orchestrator.lab.edge.minecraft import ProtocolError
from orchestrator.lab.edge.minecraft import ping as ping_as_proxy

ANSWER = {
    "version": {"name": "1.21.7", "protocol": 772},
    "players": {"online": 3, "max": 20},
    "description": {"text": "a ", "extra": [{"text": "server"}]},
}
Script = Callable[[socket.socket], None]


@contextmanager
def server(script: Script) -> Iterator[int]:
    """Serves one connection by the script; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                script(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def packet(packet_id: int, body: bytes = b"") -> bytes:
    content = varint(packet_id) + body
    return varint(len(content)) + content


def status_packet(answer: object) -> bytes:
    text = json.dumps(answer).encode()
    return packet(0, varint(len(text)) + text)


def read_packet(connection: socket.socket) -> bytes:
    length = connection.recv(1)[0]
    data = b""
    while len(data) < length:
        data += connection.recv(length - len(data))
    return data


def answering(answer: bytes, *, pong: Callable[[bytes], bytes] = lambda token: token) -> tuple[Script, list[bytes]]:
    handshakes: list[bytes] = []

    def script(connection: socket.socket) -> None:
        handshakes.append(read_packet(connection))
        assert read_packet(connection) == b"\x00"
        connection.sendall(answer)
        ping_packet = read_packet_or_end(connection)
        if ping_packet:
            connection.sendall(packet(1, pong(ping_packet[1:])))

    return script, handshakes


def read_packet_or_end(connection: socket.socket) -> bytes:
    try:
        return read_packet(connection)
    except (IndexError, OSError):
        return b""


def test_ping_returns_what_the_server_says() -> None:
    script, handshakes = answering(status_packet(ANSWER))
    with server(script) as port:
        status = ping("127.0.0.1", port, hostname="mc-vanilla-5000.lab.example")
    assert (status.version, status.protocol) == ("1.21.7", 772)
    assert (status.players_online, status.players_max) == (3, 20)
    assert status.description == "a server"
    assert 0 <= status.latency_ms < 3000
    assert b"mc-vanilla-5000.lab.example" + port.to_bytes(2, "big") + b"\x01" in handshakes[0]


def test_ping_takes_an_answer_in_pieces() -> None:
    def script(connection: socket.socket) -> None:
        read_packet(connection)
        read_packet(connection)
        for byte in status_packet(ANSWER):
            connection.sendall(bytes([byte]))
        connection.sendall(packet(1, read_packet(connection)[1:]))

    with server(script) as port:
        assert ping("127.0.0.1", port).protocol == 772


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection"),
        (varint(LARGEST_PACKET + 1), "bytes, which is no status answer"),
        (b"\xff" * 6, "does not speak the Minecraft protocol"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 80, "instead of"),
        (packet(7), "sent packet 0x7 instead of 0x0"),
        (status_packet([1]), "not a JSON object"),
        (packet(0, b"\x03{{{"), "not a JSON object"),
        (status_packet({"players": {}}), "without a version"),
        (status_packet({"version": {"protocol": True}}), "without a version"),
    ],
    ids=["closed", "too large", "no varint", "http", "other packet", "list", "no json", "no version", "boolean"],
)
def test_ping_says_what_is_wrong_with_the_answer(answer: bytes, words: str) -> None:
    def script(connection: socket.socket) -> None:
        read_packet(connection)
        read_packet(connection)
        connection.sendall(answer)
        if b"version" in answer or b"players" in answer:
            connection.sendall(packet(1, read_packet(connection)[1:]))

    with server(script) as port, pytest.raises(PingError, match=words) as caught:
        ping("127.0.0.1", port)
    assert str(caught.value).startswith(f"127.0.0.1:{port} ")


@pytest.mark.parametrize(
    "text",
    [
        b'{"description": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 3000,
        b'{"a": "\xff"}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=["nested", "open lists", "open objects", "no utf-8", "huge number"],
)
def test_case_b10_status_that_cannot_be_read_is_one_sentence(text: bytes) -> None:
    script, _ = answering(packet(0, varint(len(text)) + text))
    with server(script) as port, pytest.raises(PingError) as caught:
        ping("127.0.0.1", port)
    assert str(caught.value) == f"127.0.0.1:{port} sent a status answer that is not a JSON object"


def test_case_b10_labs_proxy_takes_a_deep_status_for_none() -> None:
    text = b"[" * 3000
    script, _ = answering(packet(0, varint(len(text)) + text))
    with server(script) as port, pytest.raises(ProtocolError, match="not JSON"):
        asyncio.run(ping_as_proxy("127.0.0.1", port, "mc", seconds=5))


def test_case_b10_status_is_told_in_few_printable_words() -> None:
    odd = {
        "version": {"name": [[["deep"]]], "protocol": 1},
        "players": {"online": 10**4000, "max": True},
        "description": "a\0\x1b[2J\u202e\ud800\nb" + "x" * 100_000,
    }
    script, _ = answering(status_packet(odd))
    with server(script) as port:
        status = ping("127.0.0.1", port)
    assert (status.version, status.players_online, status.players_max) == ("", 0, 0)
    assert status.description.startswith("a [2J b")
    assert status.description.isprintable()
    assert len(status.description) <= 300


def test_ping_refuses_another_pong() -> None:
    script, _ = answering(status_packet(ANSWER), pong=lambda _: bytes(8))
    with server(script) as port, pytest.raises(PingError, match="other bytes"):
        ping("127.0.0.1", port)


def test_ping_ends_at_its_timeout_although_bytes_keep_coming() -> None:
    stop = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.sendall(varint(2000))
        while not stop.wait(0.05):
            connection.sendall(b" ")

    with server(script) as port:
        started = time.monotonic()
        try:
            with pytest.raises(PingError, match=r"did not answer .* within 0.5 s"):
                ping("127.0.0.1", port, timeout=0.5)
        finally:
            stop.set()
        assert time.monotonic() - started < 2


def test_ping_says_when_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PingError, match="refused"):
        ping("127.0.0.1", port)


@given(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=4))
def test_varint_is_read_back(value: int, rest: bytes) -> None:
    encoded = varint(value)
    assert len(encoded) <= 5
    assert split_varint(encoded + rest) == (value, rest)


@pytest.mark.parametrize(
    ("component", "text"),
    [
        ("plain", "plain"),
        ({"text": "a", "extra": ["b", {"text": "c"}]}, "abc"),
        (["a", {"translate": "b"}], "ab"),
        (None, ""),
        (7, ""),
    ],
)
def test_plain_text_of_a_chat_component(component: object, text: str) -> None:
    assert plain_text(component) == text


def test_plain_text_of_a_bottomless_component_ends() -> None:
    component: dict[str, object] = {"text": "x"}
    for _ in range(500):
        component = {"text": "", "extra": [component]}
    assert plain_text(component) == ""
