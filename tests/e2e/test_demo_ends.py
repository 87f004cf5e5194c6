"""How `hostwright demo` ends: interrupted, failed, and begun again."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_demo import _belongs
from tests.support.fix_lab import describe_lab

HOSTWRIGHT = str(Path(sys.executable).with_name("hostwright"))
SECONDS = 30.0
"""How long the parts may take to stop. It is a few seconds on an idle machine, and an order takes longer."""


@pytest.fixture
def home() -> Iterator[Path]:
    # Not below pytest's own directory: root's database server runs as another user, who could not enter it.
    with tempfile.TemporaryDirectory(prefix="hostwright-demo-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def begin(home: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "HOSTWRIGHT_DATABASE_URL"}
    return subprocess.Popen(
        [HOSTWRIGHT, "demo", "--state-dir", str(home), *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    text = ""
    while not re.search(pattern, text):
        line = process.stdout.readline()
        assert line, text
        text += line
    return text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_case_e1_ends_quickly_while_its_orders_run(home: Path, number: signal.Signals) -> None:
    # At this speed an order takes minutes.
    process = begin(home, "--once", "--speed", "100")
    read_until(process, "allocate-vmid: ok")
    began = time.monotonic()
    process.send_signal(number)
    text, _ = process.communicate(timeout=120)
    assert time.monotonic() - began < SECONDS
    assert process.returncode == 130
    assert "Traceback" not in text
    assert list(home.iterdir()) == []
    assert [each for each in psutil.process_iter() if _belongs(each, str(home))] == []


def test_case_e9_e10_begins_anew_and_prints_a_line_that_works(home: Path) -> None:
    for _ in range(2):
        process = begin(home, "--speed", "0")
        text = read_until(process, "Ctrl-C stops everything")
        assert re.search("mc-vanilla-5000 .*succeeded", text)
        found = re.search("^try it +(?P<command>.*)$", text, re.MULTILINE)
        assert found is not None
        listed = subprocess.run(
            shlex.split(found["command"]), env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
        )
        assert [line.split()[1] for line in listed.stdout.splitlines()[1:]] == ["mc-vanilla-5000", "dev-6000"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        assert process.returncode == 0


def test_case_e9_leaves_a_running_demo_alone(home: Path) -> None:
    first = begin(home, "--speed", "0")
    read_until(first, "Ctrl-C stops everything")
    second = begin(home, "--speed", "0")
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 1
    assert "another `hostwright up` runs" in said
    assert (home / "demo" / "postgres").is_dir()
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)


def test_case_e11_keeps_the_log_that_it_names(home: Path) -> None:
    process = begin(home, "--once", "--speed", "0")
    read_until(process, "starting: API")
    (state_dir,) = home.glob("demo-*")
    describe_lab(state_dir, process.pid).fault(target="agent", behaviour="error", message="no room")
    text, _ = process.communicate(timeout=240)
    assert process.returncode == 1
    named = re.search(r"see (\S+/logs/worker\.log)", text)
    assert named is not None, text
    assert Path(named[1]).read_text()
