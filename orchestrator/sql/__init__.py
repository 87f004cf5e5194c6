"""The named queries of queries.sql."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def _load() -> dict[str, str]:
    _, *parts = _NAME.split((files(__package__) / "queries.sql").read_text(encoding="utf-8"))
    return dict(zip(parts[::2], (text.strip().removesuffix(";") for text in parts[1::2]), strict=True))


QUERIES: dict[str, str] = _load()
"""Query name to SQL text, its line of purpose included."""
