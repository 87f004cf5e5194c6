"""Debian's nginx and Caddy in front of the API, with TLS, configured as the documentation says."""

import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.lab.servers.certificates import ServerFiles, issue_certificate
from orchestrator.processes import die_with_parent, stop
from tests.servers.programs import required

HOST = "127.0.0.1"
_START_SECONDS = 20

_NGINX = """
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen {host}:{port} ssl;
        ssl_certificate {files.certificate};
        ssl_certificate_key {files.key};
        location / {{
            proxy_pass {origin};
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""

_CADDY = """
{{
    admin off
    log {{
        output file {home}/log
    }}
}}
https://{host}:{port} {{
    tls {files.certificate} {files.key}
    @whole not path */stream
    encode @whole gzip
    reverse_proxy {origin}
}}
"""


def _start_nginx(home: Path, text: str) -> list[str]:
    (home / "nginx.conf").write_text(text)
    return [required("nginx"), "-p", str(home), "-e", str(home / "log"), "-c", str(home / "nginx.conf")]


def _start_caddy(home: Path, text: str) -> list[str]:
    (home / "Caddyfile").write_text(text)
    return [required("caddy"), "run", "--adapter", "caddyfile", "--config", str(home / "Caddyfile")]


FRONTS: dict[str, tuple[str, Callable[[Path, str], list[str]]]] = {
    "nginx": (_NGINX, _start_nginx),
    "caddy": (_CADDY, _start_caddy),
}
"""The configuration of each, and how its command is made."""


@contextmanager
def running_front(name: str, home: Path, origin: str) -> Iterator[tuple[str, ssl.SSLContext]]:
    """The URL of a running front of an API, and what verifies its certificate."""
    files: ServerFiles = issue_certificate(home, [HOST])
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    template, start = FRONTS[name]
    command = start(home, template.format(home=home, host=HOST, port=port, files=files, origin=origin))
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            preexec_fn=die_with_parent(signal.SIGTERM),
            env=os.environ | {"HOME": str(home), "XDG_DATA_HOME": str(home)},
        )  # fmt: skip
    try:
        _wait_until_up(process, port, home)
        yield f"https://{HOST}:{port}", ssl.create_default_context(cafile=files.ca)
    finally:
        stop(process, 20)


def _wait_until_up(process: subprocess.Popen[bytes], port: int, home: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection((HOST, port)).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, (home / "output").read_text()  # noqa: PT018
            time.sleep(0.02)
