"""Sockets that are bound before anything is served, so that a taken address is one clear sentence."""

import errno
import socket

from orchestrator.lab.errors import LabError


class AddressTakenError(LabError):
    """Another process listens at the address."""


def explain_bind_failure(address: str, port: int, error: OSError) -> LabError:
    """The error to raise when a socket cannot be bound; it says what to do."""
    if error.errno == errno.EADDRINUSE:
        return AddressTakenError(
            f"cannot listen on {address}:{port}: it is taken; stop what listens there or give another --block"
        )
    return LabError(f"cannot listen on {address}:{port}: {error.strerror or error}")


def bind_tcp(address: str, port: int) -> socket.socket:
    """Return a listening socket. It listens at once, because only listen() settles a race between two labs.

    Raises LabError when the address is taken."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(256)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise explain_bind_failure(address, port, error) from error
    return sock


def bind_udp(address: str, port: int) -> socket.socket:
    """Return a socket for datagrams. Raises LabError when the address is taken."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((address, port))
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise explain_bind_failure(address, port, error) from error
    return sock
