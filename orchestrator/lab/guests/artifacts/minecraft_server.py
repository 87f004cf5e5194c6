#!/usr/bin/env python3
"""The lab's stand-in for a server jar: it answers Minecraft status pings, prints a console and obeys `stop`.

Like the real server it runs in its world's directory and reads server.properties there. Its version is the name of the
directory it lies in (minecraft/<variant>/<version>/server.jar). It ends when its console is closed, so that it never
outlives its agent.
"""

import json
import os
import socket
import sys
import threading
import time
from typing import BinaryIO

MAX_PLAYERS = 20
FRAME_LIMIT = 4096  # bytes; a handshake or a login is far smaller


def log(message: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] [Server thread/INFO]: {message}", flush=True)


def read_properties(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib would double the start-up time
        return dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)


def encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 35, 7):
        byte = stream.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return value
    raise ValueError("malformed VarInt")


def read_frame(stream: BinaryIO) -> bytes:
    length = read_varint(stream)
    if not 0 < length <= FRAME_LIMIT:
        raise ValueError("malformed frame")
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    return body


def encode_frame(body: bytes) -> bytes:
    return encode_varint(len(body)) + body


def encode_packet(packet_id: int, value: object) -> bytes:
    text = json.dumps(value).encode()
    return encode_frame(bytes([packet_id]) + encode_varint(len(text)) + text)


def read_protocol(handshake: bytes) -> int:
    """The client's protocol version. The answer repeats it, so that every client counts as compatible."""
    value = 0
    for shift, byte in enumerate(handshake[1:6]):
        value |= (byte & 0x7F) << (7 * shift)
        if not byte & 0x80:
            break
    return value & 0x7FFFFFFF


def converse(connection: socket.socket, version: str, motd: str) -> None:
    """Serve one client: a handshake, then status and ping, or a login that is turned away."""
    with connection, connection.makefile("rb") as stream:
        handshake = read_frame(stream)
        status = {
            "version": {"name": version, "protocol": read_protocol(handshake)},
            "players": {"max": MAX_PLAYERS, "online": 0, "sample": []},
            "description": {"text": motd},
        }
        while True:
            request = read_frame(stream)
            if handshake[-1] != 1:
                connection.sendall(encode_packet(0, {"text": "This is a stand-in: nobody can play here."}))
                return
            connection.sendall(encode_frame(request) if request[0] == 1 else encode_packet(0, status))


def serve_client(connection: socket.socket, version: str, motd: str) -> None:
    try:
        connection.settimeout(30)
        converse(connection, version, motd)
    except (OSError, EOFError, ValueError):
        pass  # a client may leave or send nonsense


def accept(listener: socket.socket, version: str, motd: str) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_client, args=(connection, version, motd), daemon=True).start()


def main() -> None:
    version = os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0])))  # noqa: PTH119, PTH120, PTH100
    properties = read_properties("server.properties")
    host, port = properties.get("server-ip", ""), int(properties.get("server-port", "25565"))
    log(f"Starting minecraft server version {version}")
    listener = socket.create_server((host, port), backlog=128)
    threading.Thread(target=accept, args=(listener, version, properties.get("motd", "")), daemon=True).start()
    log(f"Starting Minecraft server on {host}:{port}")
    log('Done (0.1s)! For help, type "help"')
    for line in sys.stdin:
        if line.strip() == "stop":
            break
        log(f"Unknown command: {line.strip()}")
    log("Stopping server")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
