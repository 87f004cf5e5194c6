"""Writes what was measured, and the generated pages that quote it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.settings import PROJECT_DIR


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write results as JSON, and the generated pages anew."""
    from docs.generate import main as write_pages  # it reads what the benchmarks aim at, so it imports them

    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(PROJECT_DIR)}")
    write_pages()
