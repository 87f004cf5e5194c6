#!/usr/bin/env python3
"""Hostwright's reference agent: it installs and supervises one game server or dev workspace.

It runs inside the container, and is one file that needs only the standard library of Python 3.9 or newer.
README.md beside this file describes its HTTP interface.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import IO, Any, NoReturn, Union

VERSION = "1.1.0"
BODY_LIMIT = 64 * 1024  # bytes a payload may have
CONNECTIONS = 64  # and as many threads
ROOM_SECONDS = 1.0  # how long a new connection waits until another one has ended
HEAD_LIMIT = 16 * 1024  # bytes a request's head may have
HEAD_SECONDS = 5.0  # how long the head of a connection's first request may take
IDLE_SECONDS = 120.0  # the same for the next ones, with the time until they begin
BODY_SECONDS = 5.0  # how long a body may take
ANSWER_SECONDS = 5.0  # how long a client may take to read its answer
LINGER_LIMIT = 1024 * 1024  # bytes of a refused body that are read and thrown away
LINGER_SECONDS = 2.0  # how long that may take
LONG_POLL_LIMIT = 30.0  # seconds one /status?wait= may take
STOP_GRACE = 20.0  # seconds a game has to save its world
KILL_SECONDS = 3.0  # seconds a starter has to end, and systemd to kill one that does not
REQUEST_LIMIT = 400 * 1024  # bytes of a request to the starter: a payload grows when it is escaped
CRASH_RESET = 30.0  # seconds of uptime after which earlier crashes no longer count
PREPARE_RECHECK = 0.05  # seconds between looks whether a starter has installed what is ordered
READY_RECHECK = 10.0  # seconds between probes of a workload that is ready
KEPT = 0.1  # seconds a game must keep a connection when the probe sends nothing
LOG_TAIL = 20  # console lines reported after a crash
LOG_LINE = 4096  # bytes of a console line; a longer one becomes several
STATUS_LIMIT = 256 * 1024  # bytes of a game's status; one with an icon of 64 x 64 has about 10 KiB
PAYLOAD_DEPTH = 32  # levels a payload may be nested
PLAYERS_TOLD = 1000  # names
BOOTSTRAP_HEADER = "Hostwright-Bootstrap-Token"
NAME_LENGTH = 64  # characters of each
BUSY = frozenset({"installing", "verifying", "starting", "stopping"})
SETTLED = frozenset({"idle", "error"})

Json = dict[str, Any]


class RejectedError(Exception):
    """The payload is refused (422)."""


class BusyError(Exception):
    """The agent is busy with another change (409)."""


class InstallError(Exception):
    """What was ordered cannot be installed. The agent goes to the state `error`."""


class CancelledError(Exception):
    """The job was replaced or stopped."""


def log(message: str) -> None:
    print(message, flush=True)


def read_json(data: bytes, what: str) -> Any:
    """The value, whoever wrote it. Raises ValueError with one sentence about `what`."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError(f"{what} is nested too deep") from None
    except ValueError:
        raise ValueError(f"{what} is not JSON") from None


def is_deeper(value: Any, limit: int) -> bool:
    """Whether lists and objects are nested in more than `limit` levels."""
    level = [value]
    for _ in range(limit + 1):
        level = [item for item in level if isinstance(item, (list, dict))]
        if not level:
            return False
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return True


# ---------------------------------------------------------------- the payload

FIELDS: dict[str, dict[str, type]] = {
    "game": {
        "vmid": int,
        "game": str,
        "variant": str,
        "version": str,
        "ports": list,
        "artifact_path": str,
        "memory_mb": int,
    },
    "dev": {"vmid": int, "runtime": str, "version": str, "memory_mb": int},
}


def check_config(config: Any) -> Json:
    """Return the payload. Raises RejectedError with the first thing that is wrong with it."""
    if not isinstance(config, dict):
        raise RejectedError("the payload is not a JSON object")
    if is_deeper(config, PAYLOAD_DEPTH):
        raise RejectedError(f"the payload is nested deeper than {PAYLOAD_DEPTH} levels")
    kind = config.get("container_type")
    if not isinstance(kind, str) or kind not in FIELDS:
        raise RejectedError("container_type is neither game nor dev")
    for name, wanted in FIELDS[kind].items():
        value = config.get(name)
        if isinstance(value, bool) or not isinstance(value, wanted) or not value:
            raise RejectedError(f"{name} is missing or not of type {wanted.__name__}")
    for name, value in config.items():
        # A line break would add another line to server.properties, which cannot hold surrogates.
        if isinstance(value, str) and any(char < " " or "\ud800" <= char <= "\udfff" for char in value):
            raise RejectedError(f"{name} contains control characters")
    check_env(config.get("env") or {})
    check_probe(config.get("probe"))
    for name in ("artifact_path", "java_path"):
        path = config.get(name) or ""
        if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
            raise RejectedError(f"{name} is not a path below the artifact directory")
    check_ports(config)
    return config


def check_ports(config: Json) -> None:
    """Raises RejectedError with the first port that is none."""
    ports = config.get("ports") or []
    if not isinstance(ports, list):
        raise RejectedError("ports is not a list")
    for port in [*ports, config.get("code_server_port", 6000)]:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
            raise RejectedError("a port is not a number from 1 to 65535")


def check_env(env: Any) -> None:
    """Raises RejectedError unless a program can be started with it."""
    if not isinstance(env, dict):
        raise RejectedError("env is not an object")
    for name, value in env.items():
        text = f"{name}={value}"
        if not name or "=" in name or "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            raise RejectedError("env has a name or a value that no environment can hold")


def check_probe(probe: Any) -> None:
    """Raises RejectedError unless the probe is absent or complete: a protocol, with `send` and `expect` in hex."""
    if probe is None:
        return
    if not isinstance(probe, dict) or probe.get("protocol") not in ("tcp", "udp"):
        raise RejectedError("probe is not an object with protocol tcp or udp")
    try:
        send, _ = probe_bytes(probe)
    except (TypeError, ValueError):
        raise RejectedError("probe.send and probe.expect are hex digits") from None
    if probe["protocol"] == "udp" and not send:
        raise RejectedError("probe.send is empty: a game over UDP cannot be asked without it")


def probe_bytes(probe: Json) -> tuple[bytes, bytes]:
    """The bytes to send, and the bytes with which the answer begins."""
    return bytes.fromhex(probe.get("send", "")), bytes.fromhex(probe.get("expect", ""))


# ------------------------------------------------------------------- readiness


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


class Packets:
    """What a game sends over a connection, within one deadline however slowly it comes."""

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        self.connection, self.timeout = connection, timeout
        self.deadline = time.monotonic() + timeout

    def read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            self.connection.settimeout(max(self.deadline - time.monotonic(), 0.001))
            try:
                part = self.connection.recv(count - len(data))
            except socket.timeout:  # noqa: UP041 - another class before Python 3.10
                raise OSError(f"the server did not answer within {self.timeout:g} s") from None
            if not part:
                raise OSError("the server closed the connection")
            data += part
        return bytes(data)

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.read(1)[0]
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise ValueError("not a Minecraft server: the frame length is malformed")

    def length(self) -> int:
        value = self.varint()
        if value > STATUS_LIMIT:
            raise ValueError(f"not a Minecraft server: a packet of {value} bytes")
        return value


def minecraft_status(host: str, port: int, timeout: float = 2.0) -> Json:
    """The server's answer to a status request. Raises OSError or ValueError when there is none."""
    name = host.encode()
    handshake = b"\x00" + _varint(0) + _varint(len(name)) + name + port.to_bytes(2, "big") + b"\x01"
    with socket.create_connection((host, port), timeout) as connection:
        packets = Packets(connection, timeout)
        connection.sendall(_varint(len(handshake)) + handshake + b"\x01\x00")
        packets.length()  # of the frame
        if packets.varint() != 0:
            raise ValueError("not a Minecraft server: unexpected packet")
        answer = read_json(packets.read(packets.length()), "not a Minecraft server: the status")
    if isinstance(answer, dict):
        return answer
    raise ValueError("not a Minecraft server: the status is not an object")


def minecraft_players(status: Json) -> Json:
    """The players that a status tells, as far as it makes sense."""
    told = status.get("players")
    players: Json = told if isinstance(told, dict) else {}
    sample = players.get("sample")
    names = [player.get("name") for player in sample if isinstance(player, dict)] if isinstance(sample, list) else []
    return {
        "online": _player_count(players.get("online")),
        "max": _player_count(players.get("max")),
        "players": [name[:NAME_LENGTH] for name in names if isinstance(name, str)][:PLAYERS_TOLD],
    }


def _player_count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0


def game_answers(host: str, port: int, probe: Json, timeout: float = 2.0) -> None:
    """Raises OSError unless the game answers as the probe says.

    When the probe sends and expects nothing, the game must take a connection and keep it."""
    send, expect = probe_bytes(probe)
    kind = socket.SOCK_DGRAM if probe["protocol"] == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as connection:
        connection.settimeout(timeout)
        connection.connect((host, port))
        if send:
            connection.sendall(send)
        elif not expect:
            connection.settimeout(KEPT)
        try:
            answer = connection.recv(65536)
        except socket.timeout:  # noqa: UP041 - another class before Python 3.10
            if send or expect:
                raise OSError(f"the game did not answer within {timeout:g} s") from None
            return
    if not answer and kind == socket.SOCK_STREAM:
        raise OSError("the game closed the connection")
    if not answer.startswith(expect):
        raise OSError(f"the game answered {answer[:32]!r}")


def http_answers(host: str, port: int, timeout: float = 2.0) -> None:
    """Raises OSError unless an HTTP server answers there, whatever the status."""
    with socket.create_connection((host, port), timeout) as connection:
        connection.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        if not connection.recv(16).startswith(b"HTTP/"):
            raise OSError("the code server does not speak HTTP")


# ---------------------------------------------------------------------- faults


CRASHING_PROGRAM = """
print("[main/ERROR]: Encountered an unexpected exception")
print("java.lang.OutOfMemoryError: Java heap space")
raise SystemExit(1)
"""


class Faults:
    """Misbehaviour on request, for tests: a JSON list in a file, which is read again for each payload.

    An entry is {"id", "behaviour", "vmid": int|null, "times": int|null, …}. All agents that share the file count
    `times` together: each use is a file beside it, which only one agent can create.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def take(self, vmid: int) -> Json:
        """The first fault that applies to this payload, or an empty dict."""
        for fault in self._read():
            if fault.get("vmid") in (None, vmid) and self._claim(fault):
                return fault
        return {}

    def _read(self) -> list[Json]:
        if self.path is None:
            return []
        try:
            return list(json.loads(self.path.read_text()))
        except FileNotFoundError:
            return []

    def _claim(self, fault: Json) -> bool:
        if fault.get("times") is None or self.path is None:
            return True
        for use in range(fault["times"]):
            try:
                self.path.with_name(f"{self.path.name}.{fault.get('id', 0)}.{use}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False


# ---------------------------------------------------------------- installation


def write_properties(path: Path, ours: dict[str, str], defaults: dict[str, str]) -> None:
    """Write a server.properties: `ours` replace what is there, `defaults` fill gaps, and everything else stays."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    path.write_text("".join(f"{key}={value}\n" for key, value in {**defaults, **found, **ours}.items()))


def unpack_java(archive: Path, target: Path) -> Path:
    """The java binary of an archive, which is unpacked once."""
    import tarfile

    if not target.exists():
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(partial, filter="data")
            else:
                tar.extractall(partial)  # noqa: S202 - the artifacts are the provider's own
        partial.replace(target)
    binaries = list(target.glob("**/bin/java"))
    if not binaries:
        raise InstallError(f"{archive.name} holds no bin/java")
    return binaries[0]


def accepts_eula(path: Path) -> bool:
    """Whether an eula.txt accepts Minecraft's licence."""
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return any("".join(line.split()).lower() == "eula=true" for line in lines)


def is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"


class Workspace:
    """The files of one workload: where its artifacts are, its configuration, and the command that runs it."""

    def __init__(self, root: Path, artifacts: Path, host: str, config: Json) -> None:
        self.directory = root / ("server" if config["container_type"] == "game" else "workspace")
        self.root, self.artifacts, self.host, self.config = root, artifacts, host, config

    @property
    def is_game(self) -> bool:
        return bool(self.config["container_type"] == "game")

    @property
    def is_minecraft(self) -> bool:
        """Whether it speaks Minecraft's protocol; a game without a probe does."""
        return self.is_game and not self.config.get("probe")

    @property
    def has_program(self) -> bool:
        """Whether there is something to run; a dev container without a code server needs nothing."""
        return self.is_game or bool(self.port)

    @property
    def port(self) -> int:
        """The port of the workload; 0 for a dev container without a code server."""
        if self.is_game:
            return int(self.config["ports"][0])
        return int(self.config.get("code_server_port", 6000)) if self.config.get("enable_code_server") else 0

    def environment(self) -> dict[str, str]:
        extra = self.config.get("env") or {}
        return {**os.environ, **{str(key): str(value) for key, value in extra.items()}, **self._orders()}

    def _orders(self) -> dict[str, str]:
        """The environment of a game that is not Minecraft, which has no server.properties to read."""
        if not self.is_game or self.is_minecraft:
            return {}
        return {
            "SERVER_ADDRESS": self.host,
            "SERVER_PORT": str(self.port),
            "SERVER_NAME": f"{self.config['game']}-{self.config['vmid']}",
            "SERVER_WORLD": str(self.config.get("world") or "world"),
            "SERVER_MEMORY_MB": str(self.config["memory_mb"]),
        }

    def prepare(self) -> None:
        """Install what is ordered, and find out whether it can be started. Raises InstallError."""
        self.write()
        if self.is_minecraft:
            self.run_installer()
        self.command()

    def start(self, command: list[str] | None, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
        """Start the program, or another command in its place. Raises InstallError."""
        command = command or self.command()
        self.write()  # the address may have changed since the last start
        return subprocess.Popen(
            command or [],
            cwd=self.directory,
            env=self.environment(),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.STDOUT,
        )

    def write(self) -> None:
        """Make the working directory, with the configuration of a Minecraft server."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.is_minecraft:
            return
        write_properties(
            self.directory / "server.properties",
            {"server-ip": self.host, "server-port": str(self.port), "enable-status": "true"},
            {
                "level-name": str(self.config.get("world") or "world"),
                "motd": f"{self.config['variant']}-{self.config['vmid']}",
            },
        )
        # Only the customer can accept the licence. Without that the game would exit again and again.
        if self.environment().get("EULA", "").lower() == "true":
            (self.directory / "eula.txt").write_text("eula=true\n")

    def run_installer(self) -> None:
        """Run the installer of Forge or NeoForge, which writes the server and a run.sh."""
        artifact = self.artifact()
        if not artifact.name.endswith("-installer.jar") or is_program(artifact):
            return
        self.require_eula()
        done = subprocess.run(
            [self.java(), "-jar", str(artifact), "--installServer"],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,  # the starter's is its connection to the agent
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise InstallError(f"the installer failed: {done.stdout.strip().splitlines()[-1:]}")

    def require_eula(self) -> None:
        """Raises InstallError when a Minecraft server would not start because its licence is not accepted."""
        if self.config["game"] != "minecraft" or self.environment().get("EULA", "").lower() == "true":
            return
        if not accepts_eula(self.directory / "eula.txt"):
            raise InstallError("the Minecraft EULA is not accepted: order with env EULA=true")

    def artifact(self) -> Path:
        path: Path = self.artifacts / self.config["artifact_path"]
        if not path.is_file():
            raise InstallError(f"artifact {self.config['artifact_path']} is not in this template")
        return path

    def java(self) -> str:
        path = self.config.get("java_path") or ""
        if path and (self.artifacts / path).is_file():
            return str(unpack_java(self.artifacts / path, self.root / "java" / Path(path).parent.name))
        found = shutil.which("java")
        if found is None:
            raise InstallError(f"there is no Java here: neither {path or 'an archive'} nor java on the PATH")
        return found

    def command(self) -> list[str] | None:
        """The program to run, or None when the workload needs none. Raises InstallError."""
        if self.is_game:
            artifact = self.artifact()
            if is_program(artifact):
                return [str(artifact)]
            if not self.is_minecraft:
                raise InstallError(f"{self.config['artifact_path']} does not begin with #!, so it cannot be run")
            self.require_eula()
            if artifact.name.endswith("-installer.jar"):
                return ["/bin/sh", "run.sh", "nogui"]
            # The other quarter is for the JVM itself and the agent.
            heap = f"-Xmx{self.config['memory_mb'] * 3 // 4}M"
            return [self.java(), heap, "-jar", str(artifact), "nogui"]
        if not self.port:
            return None
        bundled = self.artifacts / "dev" / "code-server"
        program = str(bundled) if bundled.is_file() else shutil.which("code-server")
        if program is None:
            raise InstallError("code-server is not in this template")
        return [program, "--bind-addr", f"{self.host}:{self.port}", "--auth", "none", str(self.directory)]

    @property
    def ready_source(self) -> str:
        """The way in which the agent finds out that the workload is ready."""
        if self.is_minecraft:
            return "minecraft_ping"
        return "probe" if self.is_game else "http"

    def probe(self) -> None:
        """Raises OSError or ValueError unless the workload answers its users."""
        if self.is_minecraft:
            minecraft_status(self.host, self.port)
        elif self.is_game:
            game_answers(self.host, self.port, self.config["probe"])
        elif self.port:
            http_answers(self.host, self.port)


# ------------------------------------------------------------------ supervision


class Job:
    """One attempt to start a payload and keep it running. At most one job is current."""

    def __init__(self, config: Json, fault: Json, previous: Job | None) -> None:
        self.config, self.fault, self.previous = config, fault, previous
        self.crashes_due = int(fault.get("count", 1)) if fault.get("behaviour") == "crash" else 0
        self.wake = threading.Event()
        self.cancelled = False
        self.thread: threading.Thread | None = None

    def cancel(self, timeout: float | None = None) -> None:
        """End the job, and wait until its process is gone."""
        self.cancelled = True
        self.wake.set()
        if self.thread is not None:
            self.thread.join(timeout)

    def pause(self, seconds: float) -> None:
        """Wait. Raises CancelledError as soon as the job is cancelled."""
        deadline = time.monotonic() + seconds
        while not self.cancelled:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            self.wake.wait(min(remaining, 3600.0))
            if not self.cancelled:
                self.wake.clear()
        raise CancelledError


class RemoteProgram:
    """A program of another user, with the members of a Popen that a Workload needs.

    systemd starts the starter (`serve_starter`) for each connection to a socket, as the user of the workload, and ends
    with it all that it has started. So neither the agent nor the workload has a right over the other.
    """

    def __init__(self, path: str, workspace: Workspace, verb: str, command: list[str] | None = None) -> None:
        self.returncode: int | None = None
        self.error: str | None = None
        self.ended = threading.Event()
        self.path = path
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_LIMIT)
        self.connection.connect(path)
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self.stdin: IO[bytes] = os.fdopen(ours_in, "wb")
        self.stdout: IO[bytes] = os.fdopen(ours_out, "rb")
        request = {"verb": verb, "config": workspace.config, "host": workspace.host, "command": command}
        try:
            socket.send_fds(self.connection, [json.dumps(request).encode()], [theirs_in, theirs_out])
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        answer: Json = {"code": -signal.SIGKILL}  # when the starter ends without a word
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(self.connection.recv(REQUEST_LIMIT) or b"null")
            answer = told if isinstance(told, dict) else answer
        code, error = answer.get("code"), answer.get("error")
        self.returncode = code if isinstance(code, int) else 1
        self.error = error if isinstance(error, str) else None
        self.ended.set()

    def poll(self) -> int | None:
        return self.returncode if self.ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired("the workload", timeout or 0)
        return self.returncode or 0

    def terminate(self) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self.connection.send(b"terminate")

    def kill(self) -> None:
        """Have the program killed, by systemd when the starter does not do it: a program may stop its own starter."""
        with contextlib.suppress(OSError):  # it has ended
            self.connection.send(b"kill")
        if self.ended.wait(KILL_SECONDS):
            return
        self._replace()
        if not self.ended.wait(KILL_SECONDS):
            log("error: a starter does not answer, and systemd has not killed it")
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _replace(self) -> None:
        """Have systemd start a starter with nothing to do, before which it kills this one, and wait for its end."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(KILL_SECONDS)
            connection.connect(self.path)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)


def serve_starter(options: argparse.Namespace) -> None:
    """Carry out one request of the agent, which systemd has put on standard input, as the user of the workload.

    There is none when the agent only wanted systemd to kill the starter before this one.
    """
    become_reaper()
    connection = socket.socket(fileno=0)
    request, descriptors, _, _ = socket.recv_fds(connection, REQUEST_LIMIT, 2)
    if not request:
        return
    stdin, stdout = descriptors
    answer: Json
    try:
        answer = {"code": _carry_out(options, connection, json.loads(request), stdin, stdout)}
    except InstallError as error:
        answer = {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - the agent could only guess why it got no answer
        answer = {"error": f"the agent failed: {type(error).__name__}: {error}"}
    kill_children()
    with contextlib.suppress(OSError):  # the agent has gone
        connection.send(json.dumps(answer).encode())


def _carry_out(options: argparse.Namespace, agent: socket.socket, request: Json, stdin: int, stdout: int) -> int:
    process: subprocess.Popen[bytes] | None = None

    def obey() -> None:
        with contextlib.suppress(OSError):
            while agent.recv(16) == b"terminate":
                if process is not None:
                    process.terminate()
        if process is None:
            os._exit(1)  # systemd kills what is left
        process.kill()  # told to, or the agent has gone

    threading.Thread(target=obey, daemon=True).start()
    workspace = Workspace(options.root, options.artifacts, request["host"], request["config"])
    if request["verb"] == "prepare":
        workspace.prepare()
        return 0
    process = workspace.start(request["command"], stdin, stdout)
    os.close(stdin)
    os.close(stdout)
    signal.signal(signal.SIGTERM, lambda signum, frame: process.terminate())
    return process.wait()


def become_reaper() -> None:
    """Let what loses its parent become a child of this process (prctl(2)), so that it is found."""
    import ctypes

    pr_set_child_subreaper = 36
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def kill_children() -> None:
    """Kill all descendants: those of a killed one become our children."""
    while True:
        for children in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError):  # a thread that has ended
                for pid in children.read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


Program = Union["subprocess.Popen[bytes]", RemoteProgram]


class Workload:
    """A running program. Its console is read line by line."""

    def __init__(self, process: Program, console: deque[str], ended: threading.Event) -> None:
        self.process, self.console, self.ended = process, console, ended
        self.reader = threading.Thread(target=self._read_console, daemon=True)
        self.reader.start()

    def _read_console(self) -> None:
        stdout = self.process.stdout
        for line in iter(lambda: stdout.readline(LOG_LINE) if stdout else b"", b""):
            text = line.decode(errors="replace").rstrip()
            self.console.append(text)
            log(text)
        self.process.wait()
        self.ended.set()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, grace: float) -> None:
        """Write `stop` to the console, then terminate, then kill. Returns when the process is reaped."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):  # the program has ended, or does not read
                self.process.stdin.write(b"stop\n")
                self.process.stdin.flush()
        if not self._ends_within(grace):
            self.process.terminate()
        if not self._ends_within(2.0):
            self.process.kill()
        self.process.wait()
        self.reader.join(1.0)

    def _ends_within(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


class Agent:
    """The state machine: idle, installing, verifying, starting, running, stopping, crashed, error."""

    def __init__(self, options: argparse.Namespace, host: str) -> None:
        self.options, self.host = options, host
        self.faults = Faults(options.faults)
        self.delay = 0.0  # seconds by which every answer is late
        self.console: deque[str] = deque(maxlen=500)
        self.workload: Workload | None = None
        self.job: Job | None = None
        self.config: Json | None = None
        self.installed = self.enabled = False
        self.owner: str | None = None  # the digest of the token that the first payload came with
        self.revision = 0
        self.changed = threading.Condition(threading.RLock())
        self.view: Json = {
            "state": "idle",
            "ready": False,
            "readySource": None,
            "readyError": None,
            "installStep": None,
            "error": None,
            "crashCount": 0,
            "lastCrashAt": None,
            "lastCrashExitCode": None,
            "lastCrashLogTail": [],
        }

    # the status

    def _update(self, **fields: Any) -> None:
        with self.changed:
            changed = {key for key, value in fields.items() if self.view[key] != value}
            self.view.update(fields)
            if changed - {"readyError"}:  # a new reason for not being ready yet is no change worth a revision
                self.revision += 1
                self.changed.notify_all()

    def _report(self, job: Job, **fields: Any) -> None:
        """Update for a job, unless the job was cancelled or replaced."""
        with self.changed:
            if job is self.job and not job.cancelled:
                self._update(**fields)

    def status(self, wait: float = 0.0, since: int | None = None) -> Json:
        """Return the status; wait up to `wait` seconds for the next change.

        Without `since` a settled agent (idle, error, running and ready) answers at once, because no change is due.
        With it, the wait ends as soon as the revision differs from `since`.
        """
        with self.changed:
            seen = self.revision if since is None else since
            if since is not None or not self._settled():
                self.changed.wait_for(lambda: self.revision != seen, min(wait, LONG_POLL_LIMIT))
            return {
                **self.view,
                "isolated": bool(self.options.workload_socket),
                "processRunning": self.workload is not None and self.workload.alive,
                "config": self.config,
                "revision": self.revision,
                "version": VERSION,
                "timestamp": timestamp(),
            }

    def _settled(self) -> bool:
        return self.view["state"] in SETTLED or (self.view["state"] == "running" and self.view["ready"])

    # verbs

    def configure(self, config: Json, owner: str | None = None) -> None:
        """Take a payload, install it and start it. Raises BusyError, RejectedError.

        With an `owner`, the digest of a token, the agent answers only to that token from now on.
        """
        check_config(config)
        with self.changed:
            if self.view["state"] in BUSY:
                raise BusyError(f"the agent is busy: {self.view['state']}")
            fault = self.faults.take(config["vmid"])
            self.delay = float(fault.get("seconds", 5)) if fault.get("behaviour") == "late" else 0.0
            if fault.get("behaviour") == "reject":
                raise RejectedError(fault.get("message", "the agent was told to refuse this payload"))
            # One file holds both, so that the agent never has a payload without knowing whose it is.
            self._save(config=config, installed=False, enabled=True, owner=owner or self.owner)
            self._begin(config, fault)

    def start(self) -> None:
        with self.changed:
            if self.config is None:
                raise BusyError("there is nothing to start: no payload was sent yet")
            if self.view["state"] in BUSY | {"running"}:
                return
            self._save(enabled=True)
            self._begin(self.config, {})

    def stop(self) -> None:
        """Stop the workload, and leave it stopped after a reboot too. Returns when it is down."""
        with self.changed:
            job = self.job
            if job is not None:
                job.cancelled = True
            self._update(state="stopping" if job else "idle", ready=False, installStep=None)
        if job is not None:
            job.cancel(STOP_GRACE + 10)
        with self.changed:
            if self.job is job:
                self._update(state="idle")
            self._save(enabled=False)

    def restart(self) -> None:
        self.stop()
        self.start()

    def resume(self) -> None:
        """Start after a boot what ran before it. State that came with a clone is shown, but not started."""
        state = self._load()
        if not state.get("config"):
            return
        self.config, self.installed = state["config"], bool(state.get("installed"))
        if state.get("identity") != self.options.identity:
            log(f"the stored payload belongs to {state.get('identity')}: not started")
            return
        self.owner = state.get("owner")
        if state.get("enabled"):
            self.enabled = True
            with self.changed:
                self._begin(state["config"], {})

    def shut_down(self) -> None:
        """Stop the workload before the agent exits, so that no process stays behind."""
        if self.job is not None:
            self.job.cancelled = True
        if self.workload is not None and self.workload.alive:
            self.workload.stop(STOP_GRACE)

    # state on disk

    def _save(self, **changes: Any) -> None:
        """Keep the state with these changes, on disk and then in memory. An OSError changes neither."""
        path = self.options.root / "state.json"
        partial = path.with_suffix(".partial")
        names = ("config", "installed", "enabled", "owner")
        fields = {**{name: getattr(self, name) for name in names}, **changes}
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
        # It holds the customer's `env`.
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps({"identity": self.options.identity, **fields}))
        partial.replace(path)
        for name in names:
            setattr(self, name, fields[name])

    def _load(self) -> Json:
        try:
            return dict(json.loads((self.options.root / "state.json").read_text()))
        except FileNotFoundError:
            return {}
        except (TypeError, ValueError, RecursionError):
            log("state.json is damaged: waiting for a new payload")
            return {}

    # the job

    def _begin(self, config: Json, fault: Json) -> None:
        """Start a job in place of the current one. The caller holds the lock; the state is on disk already."""
        job = Job(config, fault, self.job)
        job.thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        job.thread.start()
        self.job = job
        first = {"state": "starting"} if self.installed else {"state": "installing", "installStep": "preparing"}
        blank = {"ready": False, "readySource": None, "readyError": None, "error": None}
        self._update(**first, **blank, crashCount=0, lastCrashAt=None, lastCrashExitCode=None, lastCrashLogTail=[])

    def _run(self, job: Job) -> None:
        workspace = Workspace(self.options.root, self.options.artifacts, self.host, job.config)
        try:
            if job.previous is not None:
                job.previous.cancel()
                job.previous = None
            if not self.installed:
                self._install(job, workspace)
            self._supervise(job, workspace)
        except CancelledError:
            pass
        except InstallError as error:
            self._fail(job, str(error))
        except Exception as error:  # noqa: BLE001 - a job that dies without a word would look like one that never ends
            self._fail(job, f"the agent failed: {type(error).__name__}: {error}")

    def _fail(self, job: Job, message: str) -> None:
        log(f"error: {message}")
        tail = list(self.console)[-LOG_TAIL:]
        self._report(job, state="error", ready=False, error=message, installStep=None, lastCrashLogTail=tail)

    def _install(self, job: Job, workspace: Workspace) -> None:
        self.console.clear()
        self._misbehave(job)
        self._report(job, installStep="installing the artifact" if workspace.is_game else "installing the runtime")
        job.pause(self.options.install_seconds)
        self._prepare(job, workspace)
        self._report(job, state="verifying", installStep="verifying")
        with self.changed:
            # One that was replaced meanwhile must not say of the configuration after it that it is installed.
            job.pause(0)
            self._save(installed=True)

    def _prepare(self, job: Job, workspace: Workspace) -> None:
        if not self.options.workload_socket:
            workspace.prepare()
            return
        program = RemoteProgram(self.options.workload_socket, workspace, "prepare")
        try:
            while program.poll() is None:
                job.pause(PREPARE_RECHECK)
        finally:
            program.kill()
        if program.error or program.returncode:
            raise InstallError(program.error or "the installation ended without a word")

    def _start(self, workspace: Workspace, command: list[str] | None) -> Program:
        if self.options.workload_socket:
            return RemoteProgram(self.options.workload_socket, workspace, "start", command)
        return workspace.start(command, subprocess.PIPE, subprocess.PIPE)

    def _misbehave(self, job: Job) -> None:
        behaviour = job.fault.get("behaviour")
        if behaviour == "hang":
            job.pause(float("inf"))
        elif behaviour == "die":
            job.pause(float(job.fault.get("seconds", 0.1)))
            os._exit(70)
        elif behaviour == "error":
            job.pause(self.options.install_seconds)
            self.console.extend(job.fault.get("log", ["Downloading server.jar", "No space left on device"]))
            raise InstallError(job.fault.get("message", "installation failed: No space left on device"))

    def _supervise(self, job: Job, workspace: Workspace) -> None:
        crashes = 0
        backoff = job.fault.get("backoff", self.options.backoff)
        while True:
            self._report(job, state="starting", installStep=None, ready=False, readyError=None)
            job.pause(self.options.start_seconds)
            began = time.monotonic()
            code = self._run_once(job, workspace)
            crashes = 1 if time.monotonic() - began > CRASH_RESET else crashes + 1
            crash = {"crashCount": crashes, "lastCrashAt": timestamp(), "lastCrashExitCode": code}
            reason = f"exited with code {code}"
            tail = list(self.console)[-LOG_TAIL:]
            self._report(job, state="crashed", ready=False, readyError=reason, lastCrashLogTail=tail, **crash)
            if crashes > len(backoff):
                raise InstallError(f"crashed {crashes} times, the last time it {reason}")
            job.pause(float(backoff[crashes - 1]))

    def _run_once(self, job: Job, workspace: Workspace) -> int:
        """Run the workload until it ends by itself, and return its exit code. A cancel stops it first."""
        if not workspace.has_program:
            self._report(job, state="running", ready=True, readySource="runtime")
            job.pause(float("inf"))
            raise CancelledError
        command = [sys.executable, "-IS", "-c", CRASHING_PROGRAM] if job.crashes_due else None
        job.crashes_due -= 1 if job.crashes_due else 0
        job.pause(0)
        workload = self.workload = Workload(self._start(workspace, command), self.console, job.wake)
        try:
            self._report(job, state="running")
            self._watch(job, workspace, workload)
        finally:
            workload.stop(STOP_GRACE)
        if isinstance(workload.process, RemoteProgram) and workload.process.error:
            raise InstallError(workload.process.error)
        return int(workload.process.returncode or 0)

    def _watch(self, job: Job, workspace: Workspace, workload: Workload) -> None:
        """Probe the workload until it ends, and report whether it is ready."""
        interval = 0.02
        while workload.alive:
            try:
                workspace.probe()
                self._report(job, ready=True, readySource=workspace.ready_source, readyError=None)
                interval = READY_RECHECK
            except Exception as error:  # noqa: BLE001 - whatever a game answers, it is no reason to stop it
                self._report(job, ready=False, readyError=str(error) or type(error).__name__)
                interval = min(interval * 1.5, 0.5)
            job.wake.wait(interval)
            # The event is cleared before the check, because a cancel sets the flag first and then the event.
            job.wake.clear()
            if job.cancelled:
                raise CancelledError


def timestamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# ------------------------------------------------------------------------ HTTP

Answer = tuple[int, Any]


class Connections:
    """The open connections, at most CONNECTIONS. Each has a thread.

    A connection waits until it has sent a whole request with the token, and again after its answer. One that waits
    may be closed to make room for a new one: the oldest of the address from which most wait. So a flood of half
    requests crowds out itself, and whoever has the token gets in.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.count = 0
        self.waiting: dict[socket.socket, str] = {}

    def enter(self, connection: socket.socket, address: str) -> bool:
        """Take a new connection. False when there is no room, because all the others are being answered."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.count < CONNECTIONS, ROOM_SECONDS)
            if self.waiting and self.count >= CONNECTIONS:
                self._close_one()
            if not self.changed.wait_for(lambda: self.count < CONNECTIONS, ROOM_SECONDS):
                return False
            self.count += 1
            self.waiting[connection] = address
            return True

    def _close_one(self) -> None:
        crowds = Counter(self.waiting.values())
        oldest = max(self.waiting, key=lambda connection: crowds[self.waiting[connection]])
        del self.waiting[oldest]
        with contextlib.suppress(OSError):  # its thread has closed it already
            oldest.shutdown(socket.SHUT_RDWR)

    def hold(self, connection: socket.socket) -> bool:
        """Keep it while it is answered. False when it was closed before."""
        with self.changed:
            return self.waiting.pop(connection, None) is not None

    def release(self, connection: socket.socket, address: str) -> None:
        """Let it wait for its next request."""
        with self.changed:
            self.waiting[connection] = address
            self.changed.notify_all()

    def leave(self, connection: socket.socket) -> None:
        with self.changed:
            self.waiting.pop(connection, None)
            self.count -= 1
            self.changed.notify_all()


class Incoming(io.RawIOBase):
    """What a client sends, within the seconds and bytes that it is given. Raises socket.timeout beyond them."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.expect(HEAD_SECONDS, HEAD_LIMIT)

    def expect(self, seconds: float, size: int) -> None:
        self.deadline, self.left = time.monotonic() + seconds, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self.deadline - time.monotonic()
        if remaining <= 0 or self.left <= 0:
            raise socket.timeout("the request is too long or too slow")  # noqa: UP041 - the base class catches it
        self.connection.settimeout(remaining)
        count = self.connection.recv_into(buffer, min(len(buffer), self.left))
        self.left -= count
        return count


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024  # a client that finds it full tries again only after a second

    def __init__(self, address: tuple[str, int], agent: Agent, token: str | None) -> None:
        self.agent, self.token = agent, token
        self.connections = Connections()
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.connections.enter(request, str(client_address[0])):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the machine gives no thread
            self.connections.leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.leave(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # else the client is gone, or was closed
            super().handle_error(request, client_address)

    def server_bind(self) -> None:
        # HTTPServer asks for the host's full name here, which takes seconds where no resolver answers.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"hostwright-agent/{VERSION}"
    sys_version = ""
    wbufsize = -1  # buffered, so that an answer is one segment
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self.incoming = Incoming(self.connection)
        self.rfile = io.BufferedReader(self.incoming)

    def address_string(self) -> str:
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name for it
        """Strangers do not write into the journal; `_serve` logs the calls that change something."""

    def handle_expect_100(self) -> bool:
        if self.is_authorised():
            super().handle_expect_100()
            self.wfile.flush()
        return True

    def do_GET(self) -> None:
        self._serve(GET)

    def do_POST(self) -> None:
        self._serve(POST)

    def _serve(self, routes: dict[str, Callable[[Handler], Answer]]) -> None:
        path = self.path.partition("?")[0]
        length = self._body_length()
        if not self.is_authorised():
            self._refuse(401, "a bearer token is required")
        elif length is None:
            self._refuse(413, f"the body is larger than {BODY_LIMIT} bytes or of unknown length")
        elif self._receive(length):
            status, answer = 404, {"error": f"there is no {self.command} {path}"}
            if path in routes:
                status, answer = self._answer(routes[path])
            if self.server.agent.delay:
                time.sleep(self.server.agent.delay)
            if self.command == "POST":
                log(f"{self.address_string()} POST {path!r} {status}")
            self._send(status, answer)
            self.incoming.expect(IDLE_SECONDS, HEAD_LIMIT)
            self.server.connections.release(self.connection, self.address_string())

    def _body_length(self) -> int | None:
        """None when the body is too large or of unknown length."""
        length = self.headers.get("Content-Length", "0")
        known = length.isdecimal() and len(length) < 20 and int(length) <= BODY_LIMIT
        return int(length) if known and not self.headers.get("Transfer-Encoding") else None

    def _receive(self, length: int) -> bool:
        """Read the body. False when the client is gone, or was closed to make room for another."""
        self.incoming.expect(BODY_SECONDS, length)
        self.body = self.rfile.read(length)
        whole = len(self.body) == length and self.server.connections.hold(self.connection)
        self.close_connection = self.close_connection or not whole
        return whole

    def _refuse(self, status: int, error: str) -> None:
        """Answer and close without having read the body."""
        self.close_connection = True
        self._send(status, {"error": error})
        if self._body_length() != 0:
            self._linger()

    def _answer(self, route: Callable[[Handler], Answer]) -> Answer:
        try:
            return route(self)
        except OSError as error:  # such as a full disk
            return 500, {"ok": False, "error": f"the agent failed: {error}"}

    def _linger(self) -> None:
        """Read some of what the client still sends.

        A connection that is closed with unread data is reset, and the client loses our answer (RFC 9112, 9.6).
        """
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.incoming.expect(LINGER_SECONDS, LINGER_LIMIT)
            while self.rfile.read1(65536):
                pass

    def is_authorised(self) -> bool:
        """Whether the agent answers: to its own token once it has one, until then to the template's.

        Until then a caller may also send the template's token in a header of its own, with the bearer token that the
        agent shall have: `owner` is then the digest of that one.
        """
        import hmac

        self.owner: str | None = None
        given = self.headers.get("Authorization", "")
        known, bootstrap = self.server.agent.owner, self.server.token
        if known is not None:
            return hmac.compare_digest(digest_of(given), known)
        if bootstrap is None:
            return True
        if given.startswith("Bearer ") and BOOTSTRAP_HEADER in self.headers:
            self.owner = digest_of(given)
            return hmac.compare_digest(self.headers[BOOTSTRAP_HEADER].encode(), bootstrap.encode())
        return hmac.compare_digest(given.encode(), f"Bearer {bootstrap}".encode())

    def _send(self, status: int, answer: Any) -> None:
        body = b"" if status == 204 else json.dumps(answer).encode()
        self.connection.settimeout(ANSWER_SECONDS)
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")  # else the client may ask once more on it
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def query(self) -> dict[str, str]:
        parts = (part.partition("=") for part in self.path.partition("?")[2].split("&"))
        return {key: value for key, _, value in parts}


def digest_of(authorization: str) -> str:
    """What is kept of a token: whoever reads the agent's files can ask no agent with it."""
    import hashlib

    return hashlib.sha256(authorization.encode()).hexdigest()


def get_health(request: Handler) -> Answer:
    return 200, {"ok": True}


def get_ready(request: Handler) -> Answer:
    view = request.server.agent.view
    return (200 if view["ready"] else 503), {
        "ready": view["ready"],
        "error": view["error"] or view["readyError"],
    }


def get_version(request: Handler) -> Answer:
    return 200, {"version": VERSION}


def get_status(request: Handler) -> Answer:
    query = request.query()
    try:
        wait = float(query.get("wait", 0))
        since = int(query["since"]) if "since" in query else None
    except ValueError:
        return 400, {"error": "wait is a number of seconds, since a revision"}
    status = request.server.agent.status(max(0.0, wait), since)
    if not request.is_authorised():  # the agent has got a token of its own while it waited
        return 401, {"error": "a bearer token is required"}
    return 200, status


def get_players(request: Handler) -> Answer:
    agent = request.server.agent
    if agent.config is None or agent.config["container_type"] != "game":
        return 409, {"error": "no game is configured"}
    if agent.config.get("probe"):
        return 409, {"error": f"{agent.config['game']} does not tell its players"}
    try:
        status = minecraft_status(agent.host, agent.config["ports"][0])
    except (OSError, ValueError) as error:
        return 503, {"error": f"the game does not answer: {error}"}
    return 200, minecraft_players(status)


def post_config(request: Handler) -> Answer:
    agent = request.server.agent
    try:
        config = read_json(request.body, "the body")
        with agent.changed:
            # Of two first payloads at once, the other one may have given the agent its token meanwhile.
            if not request.is_authorised():
                return 401, {"ok": False, "error": "a bearer token is required"}
            agent.configure(config, request.owner)
    except BusyError as error:
        return 409, {"ok": False, "error": str(error)}
    except RejectedError as error:
        return 422, {"ok": False, "error": str(error)}
    except ValueError as error:
        return 400, {"ok": False, "error": str(error)}
    return 202, {"ok": True, "state": "installing"}


def _for_games(act: Callable[[Agent], None]) -> Callable[[Handler], Answer]:
    def answer(request: Handler) -> Answer:
        agent = request.server.agent
        if agent.config is not None and agent.config["container_type"] != "game":
            return 409, {"ok": False, "error": "a dev container is started and stopped as a whole"}
        try:
            act(agent)
        except BusyError as error:
            return 409, {"ok": False, "error": str(error)}
        return 200, {"ok": True, "state": agent.view["state"]}

    return answer


def post_stop(request: Handler) -> Answer:
    status, answer = _for_games(Agent.stop)(request)
    return (204, None) if status == 200 else (status, answer)


GET: dict[str, Callable[[Handler], Answer]] = {
    "/health": get_health,
    "/ready": get_ready,
    "/version": get_version,
    "/status": get_status,
    "/game/players": get_players,
}
POST: dict[str, Callable[[Handler], Answer]] = {
    "/config": post_config,
    "/start": _for_games(Agent.start),
    "/stop": post_stop,
    "/restart": _for_games(Agent.restart),
}


# ------------------------------------------------------------------------ main


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hostwright-agent", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="directory of the agent's state and the workload")
    parser.add_argument("--listen", default="0.0.0.0:18888", help="ADDRESS:PORT (default %(default)s)")
    parser.add_argument("--artifacts", type=Path, help="directory of server jars and Java (default ROOT/artifacts)")
    parser.add_argument("--token-file", type=Path, help="file with the bearer token every call must carry")
    parser.add_argument(
        "--identity", default=socket.gethostname(), help="a name that tells this container from its clones"
    )
    parser.add_argument("--install-seconds", type=float, default=0.0, help="least duration of an installation")
    parser.add_argument("--start-seconds", type=float, default=0.0, help="pause before the workload starts")
    parser.add_argument(
        "--backoff",
        type=lambda text: [float(part) for part in text.split(",")],
        default=[30.0, 60.0, 120.0],
        help="seconds before each restart after a crash (default 30,60,120); one more crash is an error",
    )
    parser.add_argument("--workload-socket", help="where programs are started as another user (default: as this one)")
    parser.add_argument("--starter", action="store_true", help="start one program for the agent on standard input")
    parser.add_argument("--faults", type=Path, help="JSON file of misbehaviour, for tests")
    parser.add_argument("--die-with-parent", type=int, metavar="PID", help="end when this parent process ends (Linux)")
    options = parser.parse_args(argv)
    options.root = options.root.absolute()
    options.artifacts = (options.artifacts or options.root / "artifacts").absolute()
    return options


def die_with_parent(parent: int) -> None:
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before prctl was called
        raise SystemExit(0)


def _terminate(signum: int, frame: object) -> NoReturn:
    raise SystemExit(0)


def main(argv: list[str] | None = None) -> None:
    options = parse_arguments(argv)
    if options.starter:
        serve_starter(options)
        return
    # A game's console may hold what the journal's encoding does not.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _terminate)
    if options.die_with_parent:
        die_with_parent(options.die_with_parent)
    options.root.mkdir(parents=True, exist_ok=True)
    host, _, port = options.listen.rpartition(":")
    token = options.token_file.read_text().strip() if options.token_file else None
    agent = Agent(options, host)
    server = Server((host, int(port)), agent, token)
    try:
        agent.resume()
        log(f"hostwright-agent {VERSION} listens on {options.listen}")
        server.serve_forever()
    except SystemExit:
        pass
    finally:
        agent.shut_down()
    sys.stdout.flush()
    # Threads may still be writing, over which the interpreter's own exit would stumble.
    os._exit(0)


if __name__ == "__main__":
    main()
