"""A run that writes results writes the pages that quote them too, so that no page is out of date after it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.settings import PROJECT_DIR

LEFT_OUT = shutil.ignore_patterns(".*", "molecule", "*.egg-info", "__pycache__", "build", "dist")
BENCH = """
import json
from bench.{module} import RESULTS
from bench.figures import write_results
write_results(RESULTS, json.loads(RESULTS.read_text()) | {{"commit": "another"}})
"""
CHAOS = """
from tests.chaos import report
from tests.chaos.campaign import Result
report.write_table([Result("kill-worker", "it was killed", "all is well", "all was well", 12.0, True)], 60.0)
"""


def python(checkout: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "page"),
    [
        (BENCH.format(module="__main__"), "benchmarks.md"),
        (BENCH.format(module="growth"), "benchmarks.md"),
        (BENCH.format(module="stream"), "benchmarks.md"),
        (BENCH.format(module="guests"), "testing.md"),
        (CHAOS, "reliability.md"),
    ],
    ids=["bench", "bench-growth", "bench-stream", "bench-guests", "chaos"],
)
def test_case_e16_leaves_no_page_out_of_date(tmp_path: Path, script: str, page: str) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(PROJECT_DIR, checkout, ignore=LEFT_OUT)
    before = (checkout / "docs" / page).read_text(encoding="utf-8")
    python(checkout, "-c", script)
    assert (checkout / "docs" / page).read_text(encoding="utf-8") != before
    python(checkout, "-m", "docs.generate", "--check")
