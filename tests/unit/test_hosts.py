"""`make hosts` where it cannot run; where it can, it is a suite of its own."""

import os
import subprocess
import sys

from orchestrator.settings import PROJECT_DIR


def test_says_in_one_sentence_what_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hosts"],
        cwd=PROJECT_DIR, env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    needed = "the command ip: apt-get install iproute2" if os.geteuid() == 0 else "root, to make network namespaces"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"make hosts needs {needed}")
    assert done.stderr.count("\n") == 1
