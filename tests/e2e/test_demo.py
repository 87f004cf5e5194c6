"""`hostwright demo --once`, as `make demo ONCE=1` runs it."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from tests.support.fix_stack import stack_database


def test_demo_orders_joins_and_leaves_nothing() -> None:
    # Not below pytest's own directory: root's database server runs as another user, who could not enter it.
    with tempfile.TemporaryDirectory(prefix="hostwright-demo-") as home, stack_database() as database_url:
        Path(home).chmod(0o755)
        command = [str(Path(sys.executable).with_name("hostwright")), "demo", "--once", "--speed", "0"]
        done = subprocess.run(
            [*command, "--state-dir", home],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"COLUMNS": "200"} | ({"HOSTWRIGHT_DATABASE_URL": database_url} if database_url else {}),
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for line in (
            r"✓ SRV _minecraft\._tcp\.(mc-vanilla-5000\.lab\.example) → \1:25565 → 127\.\d+\.0\.5",
            r"✓ joined through the proxy: Minecraft 1\.21\.7, 0/\d+ players",
            r"✓ no containers left",
            r"✓ no DNS records left",
            r"✓ no proxy registrations left",
            r"✓ no guest processes left",
            r"✓ no active VMIDs left",
            r"✓ no process is left",
        ):
            assert re.search(line, done.stdout), (line, done.stdout)
        for phase in ("clone-container", "wait-for-agent-terminal-state", "publish-edge", "delete-container"):
            assert phase in done.stdout
        assert list(Path(home).iterdir()) == []
        assert [process for process in psutil.process_iter() if _belongs(process, home)] == []


def _belongs(process: psutil.Process, home: str) -> bool:
    """Whether a process was started for this state directory."""
    try:
        return home in " ".join([*process.cmdline(), *process.environ().values()])
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False
