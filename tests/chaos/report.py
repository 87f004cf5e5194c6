"""The table of a run as text, Markdown and JSON."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

from docs.generate import main as write_pages
from orchestrator.settings import PROJECT_DIR
from tests.chaos.campaign import Result

RESULTS = PROJECT_DIR / "tests" / "chaos" / "results"
_HEAD = ("scenario", "what was done", "expected", "seen", "seconds", "verdict")


def format_line(result: Result) -> str:
    """The line that is printed when a row ends."""
    verdict = "kept  " if result.kept else "BROKEN"
    return f"{verdict} {result.seconds:6.1f} s  {result.name:44} {result.seen}"


def summarise(results: Sequence[Result], seconds: float) -> str:
    """One line that says how the run went."""
    broken = [result.name for result in results if not result.kept]
    said = f"{len(broken)} broken: {', '.join(broken)}" if broken else "every promise was kept"
    return f"{len(results)} rows in {seconds / 60:.1f} minutes: {said}"


def format_page(results: Sequence[Result], seconds: float) -> str:
    """The page with the whole table."""
    rows = [
        (
            one.name,
            one.does,
            one.expects,
            _without_log_path(one.seen),
            f"{one.seconds:.1f}",
            "kept" if one.kept else "BROKEN",
        )
        for one in sorted(results, key=lambda one: one.name)
    ]
    lines = [" | ".join(_HEAD), " | ".join("---" for _ in _HEAD)]
    lines += [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    table = "\n".join(f"| {text} |" for text in lines)
    return f"# The last `make chaos`\n\n{describe_circumstances()}. {summarise(results, seconds)}.\n\n{table}\n"


def _without_log_path(seen: str) -> str:
    """The text without the place of the logs, which only this machine has."""
    return re.sub(r" \(see [^)]*\)$", "", seen)


def write_table(results: Sequence[Result], seconds: float) -> Path:
    """Write the table beside the suite, and the generated pages that quote it; returns the page's path."""
    RESULTS.mkdir(exist_ok=True)
    page = RESULTS / "latest.md"
    page.write_text(format_page(results, seconds), encoding="utf-8")
    rows = [
        asdict(one) | {"seen": _without_log_path(one.seen), "seconds": round(one.seconds, 1)}
        for one in sorted(results, key=lambda one: one.name)
    ]
    content = {"circumstances": describe_circumstances(), "seconds": round(seconds), "rows": rows}
    (RESULTS / "latest.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    write_pages()
    return page


@cache
def describe_circumstances() -> str:
    """What runs where. A run asks for it when it begins, because the commit may have changed at its end."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False).stdout.strip()
    return f"Commit {commit}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
