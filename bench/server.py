"""The servers that are measured: each a process of its own, without rate limits."""

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from types import MappingProxyType

import httpx


def start_server(
    command: list[str], database_url: str, path: str, settings: Mapping[str, str] = MappingProxyType({})
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server on a free port, and wait until it answers at a path. Returns its process and the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        "HOSTWRIGHT_DATABASE_URL": database_url,
        "HOSTWRIGHT_PORT": str(port),
        "HOSTWRIGHT_RATE_PER_SECOND": "0",
        "HOSTWRIGHT_CHANGE_RATE_PER_SECOND": "0",
        "BENCH_DATABASE_URL": database_url,
        "BENCH_PORT": str(port),
        **settings,
    }
    process = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL)
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False)
            return process, port
        except httpx.ConnectError:
            assert process.poll() is None, f"{command} ended"
            time.sleep(0.05)
