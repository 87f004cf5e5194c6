"""Whether a game answers that is not Minecraft: what it is sent, and how its answer begins, stands in the catalogue.

When it is asked nothing, a game over TCP has to take the connection and keep it: a proxy in front of a dead server
takes it too, but then closes it. Over UDP silence says nothing, so there has to be a question.
"""

from __future__ import annotations

import socket
import time

from orchestrator.domain.probes import Probe

LARGEST_ANSWER = 64 * 1024
KEPT_SECONDS = 0.3
"""How long a connection that says nothing has to stay."""
RESEND_SECONDS = 0.3
"""After which a question over UDP counts as lost."""


class ProbeError(Exception):
    """No valid answer; the text is one sentence that says what was seen."""


def ask(address: str, port: int, probe: Probe, *, timeout: float = 2.0) -> float:
    """Milliseconds until the answer. `timeout` in seconds bounds the whole exchange. Raises ProbeError."""
    where, started = f"{address}:{port}/{probe.protocol}", time.monotonic()
    try:
        if probe.protocol == "udp":
            answer = _over_udp(address, port, probe, started + timeout)
        else:
            answer = _over_tcp(address, port, probe, started + timeout)
    except TimeoutError:
        raise ProbeError(f"{where} did not answer within {timeout:g} s") from None
    except OSError as error:
        raise ProbeError(f"{where} is not reached: {error.strerror or error}") from None
    if not answer.startswith(probe.expect):
        raise ProbeError(f"{where} answered {answer[:32]!r}, which does not begin with {probe.expect!r}")
    return (time.monotonic() - started) * 1000


def _over_udp(address: str, port: int, probe: Probe, deadline: float) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.connect((address, port))
        while (left := deadline - time.monotonic()) > 0:
            connection.send(probe.send)
            connection.settimeout(min(left, RESEND_SECONDS))
            try:
                return connection.recv(LARGEST_ANSWER)
            except TimeoutError:
                continue
    raise TimeoutError


def _over_tcp(address: str, port: int, probe: Probe, deadline: float) -> bytes:
    with socket.create_connection((address, port), timeout=max(deadline - time.monotonic(), 0.01)) as connection:
        connection.sendall(probe.send)
        if not probe.send and not probe.expect:
            return _kept(connection)
        answer = bytearray()
        while len(answer) < max(len(probe.expect), 1):
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            piece = connection.recv(LARGEST_ANSWER)
            if not piece:
                raise ConnectionError("it closed the connection without an answer")
            answer += piece
        return bytes(answer)


def _kept(connection: socket.socket) -> bytes:
    connection.settimeout(KEPT_SECONDS)
    try:
        greeting = connection.recv(LARGEST_ANSWER)
    except TimeoutError:
        return b""
    if not greeting:
        raise ConnectionError("it closed the connection at once")
    return greeting
