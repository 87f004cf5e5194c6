"""Asking a game that is not Minecraft, against real sockets that answer as good and bad ones do."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from orchestrator.domain.probes import Probe
from orchestrator.drivers.players.probe import ProbeError, ask
from orchestrator.drivers.players.reachability import parse_probe
from orchestrator.drivers.result import PhaseError
from tests.support.lab_proxy import dead_port


@contextmanager
def tcp_server(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """Serves one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@contextmanager
def udp_server(*answers: bytes | None) -> Iterator[int]:
    """Answers each datagram in turn; None is one that got lost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            for answer in answers:
                _, client = server.recvfrom(4096)
                if answer is not None:
                    server.sendto(answer, client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def in_pieces(connection: socket.socket) -> None:
    assert connection.recv(99) == b"who?"
    for piece in (b"g", b"ame", b" 1.0"):
        connection.sendall(piece)
        time.sleep(0.01)  # pieces of their own on the wire


def test_takes_an_answer_over_tcp_that_comes_in_pieces() -> None:
    with tcp_server(in_pieces) as port:
        assert ask("127.0.0.1", port, Probe("tcp", b"who?", b"game")) > 0


def test_takes_a_greeting_of_a_game_that_is_asked_nothing() -> None:
    with tcp_server(lambda connection: connection.sendall(b"game")) as port:
        ask("127.0.0.1", port, Probe("tcp", b"", b"game"))


def test_takes_a_connection_that_stays() -> None:
    with tcp_server(lambda connection: connection.recv(1)) as port:
        ask("127.0.0.1", port, Probe("tcp"))


@pytest.mark.parametrize(
    ("serve", "probe", "words"),
    [
        (lambda connection: None, Probe("tcp"), "closed the connection at once"),
        (lambda connection: connection.recv(99), Probe("tcp", b"who?"), "closed the connection without an answer"),
        (lambda connection: connection.sendall(b"HTTP/1.1 400"), Probe("tcp", b"", b"game"), "answered b'HTTP"),
        (lambda connection: connection.recv(99) and connection.recv(1), Probe("tcp", b"who?"), "did not answer within"),
    ],
    ids=["closed", "closed after the question", "another game", "silent"],
)
def test_says_what_a_bad_server_over_tcp_did(
    serve: Callable[[socket.socket], object], probe: Probe, words: str
) -> None:
    with tcp_server(serve) as port, pytest.raises(ProbeError, match=words):
        ask("127.0.0.1", port, probe, timeout=0.5)


def test_asks_again_over_udp_when_a_datagram_is_lost() -> None:
    with udp_server(None, b"game") as port:
        ask("127.0.0.1", port, Probe("udp", b"who?", b"game"))


@pytest.mark.parametrize(
    ("answer", "words"), [(b"other", "answered b'other'"), (None, "did not answer within")], ids=["other", "silent"]
)
def test_says_what_a_bad_server_over_udp_did(answer: bytes | None, words: str) -> None:
    with udp_server(answer) as port, pytest.raises(ProbeError, match=words):
        ask("127.0.0.1", port, Probe("udp", b"who?", b"game"), timeout=0.2)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_says_that_nobody_is_there(protocol: str) -> None:
    with dead_port() as port, pytest.raises(ProbeError, match="is not reached: Connection refused"):
        ask("127.0.0.1", port, Probe(protocol, b"who?"), timeout=0.5)


def test_reads_the_catalogues_probe() -> None:
    assert parse_probe("tcp", "minecraft") is None
    assert parse_probe("tcp", {}) == Probe("tcp")
    assert parse_probe("udp", {"send": "ff67", "expect": "ff"}) == Probe("udp", b"\xffg", b"\xff")


@pytest.mark.parametrize(
    ("protocol", "probe"),
    [
        ("tcp", "quake"),
        ("tcp", {"send": "xy"}),
        ("tcp", {"sent": "00"}),
        ("udp", {}),
        ("sctp", {}),
        ("tcp", {"send": 1}),
    ],
    ids=["word", "no hex", "typo", "nothing to ask", "protocol", "number"],
)
def test_probe_that_cannot_be_asked_is_a_mistake_in_the_catalogue(protocol: str, probe: object) -> None:
    with pytest.raises(PhaseError, match="of the catalogue") as caught:
        parse_probe(protocol, probe)  # type: ignore[arg-type]  # what an inventory may hold
    assert caught.value.code == "internal"
