"""Programs of Debian that these tests start: where they are, and what to install when they are not."""

import shutil
from pathlib import Path

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Debian's own, whatever else is installed: servers are not on everybody's PATH."""
NEEDED = {
    "initdb": "postgresql",
    "postgres": "postgresql",
    "knotd": "knot",
    "kdig": "knot-dnsutils",
    "named": "bind9",
    "unbound": "unbound",
    "pgbouncer": "pgbouncer",
    "nginx": "nginx-light",
    "caddy": "caddy",
}
"""Every program with its package."""


def find(program: str) -> Path | None:
    """Where Debian has put a program; of PostgreSQL's several versions the newest."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name))
    search = ":".join([*(str(place) for place in reversed(versions)), PATH])
    found = shutil.which(program, path=search)
    return Path(found) if found else None


def required(program: str) -> str:
    """The path of a program that is there: `missing_packages` was asked before."""
    path = find(program)
    assert path is not None, f"{program} of the package {NEEDED[program]} is not installed"
    return str(path)


def missing_packages() -> list[str]:
    """The packages that are still to be installed."""
    return sorted({package for program, package in NEEDED.items() if find(program) is None})
