"""The named queries: one file below queries/ for each module of the store, of the same name."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def _load() -> dict[str, str]:
    queries: dict[str, str] = {}
    for entry in sorted((files(__package__) / "queries").iterdir(), key=lambda entry: entry.name):
        _, *parts = _NAME.split(entry.read_text(encoding="utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            assert name not in queries, f"the query {name} is named twice"  # noqa: S101
            queries[name] = text.strip().removesuffix(";")
    return queries


QUERIES: dict[str, str] = _load()
"""Query name to SQL text, its line of purpose included."""
