"""The named queries: one file below queries/ for each module of the store, of the same name.

What many queries have in common stands once, in fragments.sql. A query includes a fragment by its name, as in
`where {{held}}`. The texts are put together when this module is imported, from these files alone, and
`QUERIES["log_event"]` is the text that PostgreSQL gets (docs/adr/0010-composed-queries.md).
"""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_PURPOSE = re.compile(r"^(--.*\n)+")
_INCLUDE = re.compile(r"{{(\w+)}}")
_FOLDER = files(__package__)


def _read_named(file: Traversable) -> dict[str, str]:
    """The texts of a file by their names, each with its lines of purpose."""
    _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
    return {name: text.strip().removesuffix(";") for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _compose_queries() -> dict[str, str]:
    queries: dict[str, str] = {}
    for file in sorted((_FOLDER / "queries").iterdir(), key=lambda file: file.name):
        for name, text in _read_named(file).items():
            assert name not in queries, f"the query {name} is named twice"  # noqa: S101
            queries[name] = _INCLUDE.sub(lambda include: FRAGMENTS[include[1]], text)
    return queries


def _compose_fragments() -> dict[str, str]:
    fragments: dict[str, str] = {}
    for name, text in _read_named(_FOLDER / "fragments.sql").items():
        fragments[name] = _INCLUDE.sub(lambda include: fragments[include[1]], _PURPOSE.sub("", text))
    return fragments


FRAGMENTS = _compose_fragments()
"""Fragment name to SQL text, its lines of purpose left out. One includes only those that stand before it."""
QUERIES = _compose_queries()
"""Query name to SQL text, its lines of purpose included."""
