"""What measurements share: a running Hostwright, the end of an operation, and under what circumstances it was."""

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

ORDER = {"ctype": "game", "variant": "vanilla", "version": "1.21.7"}
_FINAL = {"succeeded", "failed", "cancelled"}


@contextmanager
def running(speed: float, guests: str = "process") -> Iterator[Stack]:
    """A whole Hostwright whose worker runs one operation at once."""
    with tempfile.TemporaryDirectory(prefix="hostwright-bench-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)
        settings = load_settings(state_dir=Path(home), port=0, concurrency=1)
        with Stack(settings, speed=speed, guests=guests, say=lambda line: None) as stack:
            yield stack


def finish(client: Client, operation_id: str) -> dict[str, Any]:
    """The operation, once it is final."""
    while True:
        operation = client.operation(operation_id, wait=30)
        if operation["status"] in _FINAL:
            return operation


def circumstances() -> dict[str, str]:
    """The machine and the commit that were measured."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {"machine": machine, "commit": commit.stdout.strip()}
