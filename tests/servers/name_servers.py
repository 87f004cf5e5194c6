"""Debian's name servers on loopback: authoritative ones that take signed updates, and a resolver that asks one."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode

from orchestrator.processes import die_with_parent, stop
from tests.servers.programs import required

HOST = "127.0.0.1"
ZONE = "edge.example"
KEY = "hostwright"
ALIAS = "alias"
"""A host name of the zone that somebody else has made an alias."""
_START_SECONDS = 20
_STOP_SECONDS = 20

_ZONE_FILE = f"""$ORIGIN {ZONE}.
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 1
@ NS ns
ns A {HOST}
mail A 192.0.2.25
{ALIAS} CNAME elsewhere.example.
"""

_KNOT = """
server:
  rundir: "{home}"
  listen: {host}@{port}
log:
  - target: stderr
    any: info
database:
  storage: "{home}"
key:
  - id: {key}
    algorithm: hmac-sha256
    secret: "{secret}"
acl:
  - id: updates
    key: {key}
    action: update
zone:
  - domain: {zone}
    file: "{home}/zone"
    acl: updates
"""

_BIND = """
options {{
    directory "{home}";
    pid-file "{home}/named.pid";
    session-keyfile "{home}/session.key";
    listen-on port {port} {{ {host}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
}};
controls {{ }};
key "{key}" {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "{zone}" {{ type primary; file "{home}/zone"; allow-update {{ key "{key}"; }}; }};
"""

_UNBOUND = """
server:
    directory: "{home}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    interface: {host}
    port: {port}
    do-not-query-localhost: no
    module-config: "iterator"
    # Else a player would see a change only when the record before it is too old.
    cache-max-ttl: 0
    cache-max-negative-ttl: 0
stub-zone:
    name: "{zone}"
    stub-addr: {host}@{authority}
remote-control:
    control-enable: no
"""


@contextmanager
def knot(home: Path, secret: str) -> Iterator[str]:
    """A knotd with one zone, which one key may update; gives address:port."""
    (home / "zone").write_text(_ZONE_FILE)
    file, port = _configure(home, _KNOT, secret=secret)
    with _running([required("knotd"), "-c", str(file)], home, port) as address:
        yield address


@contextmanager
def bind(home: Path, secret: str) -> Iterator[str]:
    """A named with the same."""
    (home / "zone").write_text(_ZONE_FILE)
    file, port = _configure(home, _BIND, secret=secret)
    with _running([required("named"), "-g", "-c", str(file)], home, port) as address:
        yield address


@contextmanager
def unbound(home: Path, authority: str) -> Iterator[str]:
    """A resolver that asks the authority about the zone; gives address:port."""
    file, port = _configure(home, _UNBOUND, authority=authority.rpartition(":")[2])
    with _running([required("unbound"), "-d", "-p", "-c", str(file)], home, port) as address:
        yield address


AUTHORITIES: dict[str, Callable[[Path, str], AbstractContextManager[str]]] = {"knot": knot, "bind": bind}


def _configure(home: Path, template: str, **values: str) -> tuple[Path, int]:
    """Write the configuration, which may hold the key; returns its file and the port in it."""
    port = _free_port()
    file = home / "configuration"
    file.touch(0o600)
    file.write_text(template.format(home=home, host=HOST, port=port, zone=ZONE, key=KEY, **values))
    return file, port


def _free_port() -> int:
    """A port that neither a UDP nor a TCP server has."""
    while True:
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket() as streams:
            datagrams.bind((HOST, 0))
            port = int(datagrams.getsockname()[1])
            try:
                streams.bind((HOST, port))
            except OSError:
                continue
            return port


@contextmanager
def _running(command: list[str], home: Path, port: int) -> Iterator[str]:
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, preexec_fn=die_with_parent(signal.SIGTERM),
        )  # fmt: skip
    try:
        _wait_until_answering(server, home, port)
        yield f"{HOST}:{port}"
    finally:
        assert stop(server, _STOP_SECONDS), f"{command[0]} did not stop by itself"


def _wait_until_answering(server: subprocess.Popen[bytes], home: Path, port: int) -> None:
    question = dns.message.make_query(ZONE, "SOA")
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            answer = dns.query.tcp(question, HOST, port=port, timeout=1)
            if answer.rcode() == dns.rcode.NOERROR and answer.answer:
                return
        except (OSError, dns.exception.DNSException):
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{server.args!r} does not answer:\n{(home / 'log').read_text(errors='replace')}")
        time.sleep(0.02)
