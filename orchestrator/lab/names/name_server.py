"""The lab's name server: it serves one zone in one view at one address, over UDP and TCP."""

import asyncio
import logging
import socket
import struct
import time

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rrset
import dns.tsig
import dns.update

from orchestrator.lab.faults import Faults
from orchestrator.lab.names.answers import answer_query
from orchestrator.lab.names.rfc2136 import apply_update
from orchestrator.lab.names.zones import Zone
from orchestrator.lab.servers.connections import ConnectionServer
from orchestrator.lab.servers.sockets import explain_bind_failure

log = logging.getLogger(__name__)

# The name and algorithm of the TSIG key that may update; its secret is rfc2136_key.
KEY_NAME = "hostwright."
KEY_ALGORITHM = "hmac-sha256"
UDP_SIZE = 512
TCP_IDLE_SECONDS = 10.0
TSIG_ERRORS: tuple[tuple[type[Exception], dns.rcode.Rcode], ...] = (
    (dns.tsig.BadSignature, dns.rcode.BADSIG),
    (dns.tsig.BadTime, dns.rcode.BADTIME),
    (dns.tsig.BadKey, dns.rcode.BADKEY),
    (dns.tsig.BadAlgorithm, dns.rcode.BADKEY),
    (dns.message.UnknownTSIGKey, dns.rcode.BADKEY),
)


class NameServer:
    """Serves one zone; `start` listens, `close` ends it."""

    def __init__(self, zone: Zone, port: int, *, key: str, faults: Faults) -> None:
        self.zone = zone
        self.port = port
        self._key = dns.tsig.Key(KEY_NAME, key, KEY_ALGORITHM)
        self._faults = faults
        self._connections = ConnectionServer(self._serve_tcp)
        self._udp: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises LabError when the address is taken."""
        await self._connections.listen(self.zone.address, self.port)
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Datagrams(self), (self.zone.address, self.port), family=socket.AF_INET
            )
        except OSError as error:
            await self._connections.close()
            raise explain_bind_failure(self.zone.address, self.port, error) from error
        self._udp = transport

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        await self._connections.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn_reply(self, wire: bytes, address: tuple[str, int]) -> None:
        """Answer a datagram in a task of its own, so that a fault's delay holds up no other query."""
        task = asyncio.get_running_loop().create_task(self._reply_udp(wire, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply_udp(self, wire: bytes, address: tuple[str, int]) -> None:
        reply = await self._reply(wire)
        if reply is not None and self._udp is not None and not self._udp.is_closing():
            self._udp.sendto(_encode(reply, limit=reply.request_payload or UDP_SIZE), address)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(TCP_IDLE_SECONDS):
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                wire = await reader.readexactly(size)
            reply = await self._reply(wire)
            if reply is None:
                return
            encoded = _encode(reply, limit=65535)
            writer.write(struct.pack("!H", len(encoded)) + encoded)
            await writer.drain()

    async def _reply(self, wire: bytes) -> dns.message.Message | None:
        """The response; None for a message that is no question at all."""
        try:
            query = dns.message.from_wire(wire, keyring={self._key.name: self._key})
        except tuple(kind for kind, _ in TSIG_ERRORS) as error:
            return _refuse_signature(wire, error)
        except (dns.exception.DNSException, ValueError):
            return _refuse_malformed(wire)
        if query.flags & dns.flags.QR:
            return None
        fault = self._faults.take("dns", view=self.zone.view)
        if fault is not None:
            await asyncio.sleep(fault.get("hang", 0))
            if "rcode" in fault:
                response = dns.message.make_response(query)
                response.set_rcode(dns.rcode.from_text(fault["rcode"]))
                return response
        return self._respond(query)

    def _respond(self, query: dns.message.Message) -> dns.message.Message:
        if query.opcode() == dns.opcode.QUERY:
            return answer_query(self.zone, query)
        response = dns.message.make_response(query)
        if not isinstance(query, dns.update.UpdateMessage):
            response.set_rcode(dns.rcode.NOTIMP)
        elif not query.had_tsig:
            # BIND answers REFUSED here and Knot NOTAUTH. A client has to take either for a refusal.
            response.set_rcode(dns.rcode.REFUSED)
        else:
            response.set_rcode(apply_update(self.zone, query))
        return response


class _Datagrams(asyncio.DatagramProtocol):
    """Hands each datagram to the name server."""

    def __init__(self, server: NameServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.spawn_reply(data, addr)


def _encode(message: dns.message.Message, *, limit: int) -> bytes:
    """The message in at most `limit` bytes; one that is cut has the flag that sends the client to TCP."""
    return message.to_wire(max_size=max(limit, UDP_SIZE), prefer_truncation=True)


def _refuse_signature(wire: bytes, error: Exception) -> dns.message.Message:
    """The response NOTAUTH with the TSIG error and without a signature (RFC 8945 section 5.2)."""
    query = dns.message.from_wire(wire, keyring=False)
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.NOTAUTH)
    code = next(code for kind, code in TSIG_ERRORS if isinstance(error, kind))
    log.debug("update refused: %s", dns.rcode.to_text(code, tsig=True))
    key = dns.tsig.Key(query.keyname or dns.name.root, b"", query.keyalgorithm or KEY_ALGORITHM)
    response.use_tsig(key, tsig_error=code)
    response.want_tsig_sign = False
    assert response.tsig is not None  # noqa: S101 - use_tsig has just set it
    unsigned = response.tsig[0].replace(mac=b"", time_signed=int(time.time()))
    response.tsig = dns.rrset.from_rdata(response.tsig.name, 0, unsigned)
    return response


def _refuse_malformed(wire: bytes) -> dns.message.Message | None:
    if len(wire) < 12 or wire[2] & 0x80:
        return None
    response = dns.message.Message(id=struct.unpack("!H", wire[:2])[0])
    response.flags = dns.flags.QR
    response.set_rcode(dns.rcode.FORMERR)
    return response
