#!/usr/bin/env python3
"""The lab's stand-in for the start script of a game that is not Minecraft.

At SERVER_ADDRESS and SERVER_PORT it keeps TCP connections and sends back what it receives. Over UDP it answers the
question `getinfo`, as the servers of Quake and its kin do. It obeys `stop` on its console, and ends when the console is
closed, so that it never outlives its agent.
"""

import os
import socket
import sys
import threading

QUESTION, ANSWER = b"\xff\xff\xff\xffgetinfo", b"\xff\xff\xff\xffinfoResponse\n"


def answer_datagrams(server: socket.socket, name: str) -> None:
    while True:
        try:
            data, client = server.recvfrom(4096)
            if data.startswith(QUESTION):
                server.sendto(ANSWER + f"\\hostname\\{name}\\clients\\0\\sv_maxclients\\8".encode(), client)
        except OSError:
            continue  # the client may be gone


def echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            return  # a client may leave at any time


def accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def main() -> None:
    where = os.environ["SERVER_ADDRESS"], int(os.environ["SERVER_PORT"])
    listener = socket.create_server(where, backlog=128)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(where)
    name = os.environ.get("SERVER_NAME", "")
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    threading.Thread(target=answer_datagrams, args=(datagrams, name), daemon=True).start()
    print(f"Listening on {where[0]}:{where[1]}, TCP and UDP", flush=True)
    for line in sys.stdin:
        if line.strip() == "stop":
            break
    print("Stopping server", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
