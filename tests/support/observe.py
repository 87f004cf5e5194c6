"""What tests look at from outside: rows, files, processes, an agent's own status, the site data of a lab."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from psycopg import sql

from tests.support.containers import agent_headers, find_owner
from tests.support.fix_lab import Lab
from tests.support.fix_stack import Running

AGENT_PORT = 18888
UNSEARCHED = {".venv", ".git", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache"}


def agent_status(lab: Lab, vmid: int) -> dict[str, Any]:
    """What the agent in a container says of itself, asked as the roles ask it."""
    return ask_agent(lab, vmid, "GET", "/status")


def ask_agent(lab: Lab, vmid: int, method: str, path: str) -> dict[str, Any]:
    """What the agent in a container answers."""
    found = next(one for one in lab.inventory()["containers"] if one["vmid"] == vmid)
    headers = agent_headers(lab, find_owner(found))
    answer = httpx.request(method, f"http://{found['address']}:{AGENT_PORT}{path}", headers=headers, trust_env=False)
    told: dict[str, Any] = answer.raise_for_status().json()
    return told


def rows(stack: Running, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """The rows of a query, each as a tuple."""
    with psycopg.connect(stack.stack.run["databaseUrl"]) as connection:
        return connection.execute(query.encode(), parameters).fetchall()


def dump(stack: Running) -> str:
    """Every row of every table, as text."""
    names = [name for (name,) in rows(stack, "select tablename from pg_tables where schemaname = 'public'")]
    assert len(names) > 10
    with psycopg.connect(stack.stack.run["databaseUrl"]) as connection:
        found = [
            f"{name}: {row}"
            for name in names
            for (row,) in connection.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(name)))
        ]
    return "\n".join(found)


def next_vmid(stack: Running, ctype: str, *, after: int | None = None) -> int:
    """The VMID that the next order of this type will be given."""
    last = after or next((row[0] for row in rows(stack, "select last from vmid_cursor where ctype = %s", ctype)), 0)
    first = {"game": 5000, "dev": 6000}[ctype]
    taken = {row[0] for row in rows(stack, "select vmid from instance union select vmid from foreign_vmid")}
    return next(vmid for vmid in range(max(last + 1, first), first + 1000) if vmid not in taken)


def container(inventory: dict[str, list[dict[str, Any]]], vmid: int) -> dict[str, Any] | None:
    """A container of the lab's inventory."""
    return next((one for one in inventory["containers"] if one["vmid"] == vmid), None)


def files_below(*roots: Path) -> Iterator[Path]:
    """Every file, without installed packages and caches; what vanishes meanwhile is passed over."""
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in UNSEARCHED]
            yield from (Path(folder) / name for name in names)


def files_holding(paths: Iterable[Path], needles: Iterable[str]) -> list[str]:
    """The files that hold one of the needles, and which one begins how."""
    pattern = re.compile(b"|".join(re.escape(needle.encode()) for needle in needles))
    found = []
    for path in paths:
        try:
            match = pattern.search(path.read_bytes()) if path.is_file() else None
        except OSError:
            continue
        if match:
            found.append(f"{path}: {match[0][:6]!r}…")
    return found


def processes(stack: Running) -> list[psutil.Process]:
    """Every process of a running Hostwright: lab, guests, API, worker, playbooks, database."""
    heads = [child.pid for child in stack.stack.children.values()] + [stack.stack.postgres_pid]
    found = []
    for pid in heads:
        if pid is not None:
            head = psutil.Process(pid)
            found += [head, *head.children(recursive=True)]
    return found


@contextmanager
def edited(path: Path, **changes: Any) -> Iterator[None]:
    """A JSON file with some of its members replaced, as it was afterwards."""
    before = path.read_text()
    content = json.loads(before)
    assert changes.keys() <= content.keys()
    path.write_text(json.dumps(content | changes))
    try:
        yield
    finally:
        path.write_text(before)
