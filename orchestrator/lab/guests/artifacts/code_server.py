#!/usr/bin/env python3
"""The lab's stand-in for code-server: it answers every HTTP request at --bind-addr with a page.

It takes code-server's own arguments, and ends when its standard input is closed, so that it never outlives its agent.
"""

import os
import socket
import sys
import threading

PAGE = b"<!doctype html><title>code-server</title><p>The lab's workspace.</p>\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\nContent-Length: "
    + str(len(PAGE)).encode()
    + b"\r\n\r\n"
)


def serve_client(connection: socket.socket) -> None:
    with connection:
        connection.settimeout(10)
        try:
            request = b""
            while b"\r\n\r\n" not in request:
                part = connection.recv(4096)
                if not part or len(request) > 65536:
                    return
                request += part
            connection.sendall(ANSWER if request.startswith(b"HEAD ") else ANSWER + PAGE)
        except OSError:
            return  # a client may leave at any time


def accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_client, args=(connection,), daemon=True).start()


def main() -> None:
    host, _, port = sys.argv[sys.argv.index("--bind-addr") + 1].rpartition(":")
    listener = socket.create_server((host, int(port)), backlog=128)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    print(f"info  HTTP server listening on http://{host}:{port}/", flush=True)
    for line in sys.stdin:
        if line.strip() == "stop":
            break
    os._exit(0)


if __name__ == "__main__":
    main()
