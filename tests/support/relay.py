"""A relay before an agent that does to requests and answers what networks and agents of old templates do."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from orchestrator.drivers.agent.tokens import BOOTSTRAP_HEADER

_HEADER = re.compile(rb"%b: [^\r]*\r\n" % BOOTSTRAP_HEADER.encode(), re.IGNORECASE)


@dataclass
class Relay:
    """Where it listens, and the request lines that it has passed on. `lost` is how many answers it still loses."""

    port: int
    lost: int
    strips: bool
    requests: list[bytes] = field(default_factory=list)

    def pass_on(self, client: socket.socket, agent: tuple[str, int]) -> None:
        """Pass on one request of a client, and its answer, if it is not to be lost."""
        with client, socket.create_connection(agent) as server, suppress(OSError):
            request = _read(client)
            self.requests.append(request.partition(b"\r\n")[0])
            # Agents of old templates know no such header.
            server.sendall(_HEADER.sub(b"", request) if self.strips else request)
            answer = _read(server)
            if self.lost and request.startswith(b"POST "):
                self.lost -= 1
                return
            client.sendall(answer)


@contextmanager
def relay(address: str, port: int, *, lost: int = 0, strips: bool = False) -> Iterator[Relay]:
    """Relay to an agent; `lost` answers to POST are lost, and with `strips` our second header does not get through."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        made = Relay(listener.getsockname()[1], lost, strips)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=made.pass_on, args=(client, (address, port)), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def _read(connection: socket.socket) -> bytes:
    """One message of HTTP: its head, and as much body as that says."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or b"\r\n\r\n"
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    while len(body) < (int(length[1]) if length else 0):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
