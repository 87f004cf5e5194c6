"""Writes what was measured, and the generated pages that quote it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.settings import PROJECT_DIR

Target = tuple[str, float]
"""The bound of a figure: `at most` or `at least`, and how much."""


def is_held(value: float, target: Target) -> bool:
    """Whether a figure keeps to its target."""
    bound, limit = target
    return value <= limit if bound == "at most" else value >= limit


def print_figures(figures: Mapping[str, float], targets: Mapping[str, Target]) -> None:
    """Print each figure beside its target, and mark those that miss."""
    for name, (bound, limit) in targets.items():
        held = is_held(figures[name], (bound, limit))
        print(f"{'ok  ' if held else 'MISS'}  {name:26} {figures[name]:8.3f}  ({bound} {limit:g})")


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write results as JSON, and the generated pages anew."""
    from docs.generate import main as write_pages  # it reads what the benchmarks aim at, so it imports them

    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(PROJECT_DIR)}")
    write_pages()
