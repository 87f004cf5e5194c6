"""What the measurements share: a running Hostwright, waiting for an operation, and a description of the machine."""

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.cli.client.api import Client
from orchestrator.cli.run.stack import Stack
from orchestrator.settings import PROJECT_DIR, load_settings
from orchestrator.store.embedded import EmbeddedPostgres
from orchestrator.store.migrations import migrate

ORDER = {"ctype": "game", "variant": "vanilla", "version": "1.21.7"}
_FINAL = {"succeeded", "failed", "cancelled"}


@contextmanager
def run_stack(speed: float, guests: str = "process") -> Iterator[Stack]:
    """Run a whole Hostwright on a lab. Its worker runs one operation at a time."""
    with tempfile.TemporaryDirectory(prefix="hostwright-bench-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)
        settings = load_settings(state_dir=Path(home), port=0, concurrency=1)
        with Stack(settings, speed=speed, guests=guests, say=lambda line: None) as stack:
            yield stack


@contextmanager
def run_empty() -> Iterator[str]:
    """The URL of a database of its own with nothing in its tables."""
    with tempfile.TemporaryDirectory(prefix="hostwright-bench-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)
        server = EmbeddedPostgres(Path(home))
        url = server.start()
        try:
            migrate(url)
            yield url
        finally:
            server.stop()


def wait_for_end(client: Client, operation_id: str) -> dict[str, Any]:
    """Wait until the operation is final, and return it."""
    while True:
        operation = client.operation(operation_id, wait=30)
        if operation["status"] in _FINAL:
            return operation


def describe_circumstances() -> dict[str, str]:
    """Return the machine and the commit that are measured."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {"machine": machine, "commit": commit.stdout.strip()}
