"""Which tests are near a change: those that share a word with its name, then those that lead to it in the fewest steps.

A step is an import, or a module, role or file that a string names, as processes and playbooks are started; the plugin
of a role's task; the queries of a store module. `make near` runs the nearest. What else a change breaks it cannot know.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ("orchestrator", "plugins", "agent", "tests", "bench")
QUICK = ("tests/unit/", "tests/integration/")
"""Where tests take seconds; others are near only to changes of their own."""


def nearest(changed: list[str], at_most: int) -> list[str]:
    """The test files, the nearest first. All files are named by their path in the repository."""
    words = {word for path in changed for word in words_of(path)} - {"tests", "test"}
    found = {
        node: (distance, -len(words & words_of(node)))
        for node, distance in reachable({node for path in changed for node in nodes_of(path)}).items()
        if re.fullmatch(r"tests/.*/test_\w+\.py", node) and (distance == 0 or node.startswith(QUICK))
    }
    return sorted(found, key=lambda node: (found[node][0] > 0, found[node][1], found[node][0], node))[:at_most]


def words_of(path: str) -> set[str]:
    return set(re.split(r"[/_]", str(Path(path).with_suffix(""))))


def nodes_of(path: str) -> set[str]:
    """What stands for a file: its path, its name, and the role or phase that it belongs to."""
    role = re.match(r"(?:roles|molecule)/(\w+)/|playbooks/phases/(\w+)\.yml", path)
    return {path, Path(path).name} | ({f"roles/{role[1] or role[2]}"} if role else set())


def reachable(level: set[str]) -> dict[str, int]:
    """Everything that leads to these nodes, with the number of steps."""
    found: dict[str, int] = {}
    while level:
        distance = max(found.values(), default=-1) + 1
        found |= dict.fromkeys(level, distance)
        level = {user for node in level for user in users().get(node, ())} - found.keys()
    return found


@cache
def users() -> dict[str, set[str]]:
    """What leads to each node in one step."""
    graph: dict[str, set[str]] = defaultdict(set)
    for user, node in _steps():
        graph[node].add(user)
    return graph


def _steps() -> Iterator[tuple[str, str]]:
    sources = {_name(path): path for top in PYTHON for path in sorted((ROOT / top).rglob("*.py"))}
    modules = {_module(name): name for name in sources}
    roles = {path.name: path for path in (ROOT / "roles").iterdir()}
    for name, path in sources.items():
        for word in _mentions(path):
            if word in modules and modules[word] != name:
                yield name, modules[word]
            if (role := word.rpartition("/")[2]) in roles:
                yield name, f"roles/{role}"
            if "/" not in word and word.endswith((".py", ".yml", ".sql", ".md")):
                yield name, word
    for role, directory in roles.items():
        text = "".join(path.read_text() for path in sorted(directory.rglob("*.yml")))
        for plugin in (ROOT / "plugins").glob("*/*.py"):
            if re.search(rf"\b{plugin.stem}:", text):
                yield f"roles/{role}", _name(plugin)
    for queries in (ROOT / "orchestrator" / "sql" / "queries").glob("*.sql"):
        yield f"orchestrator/store/{queries.stem}.py", _name(queries)


def _mentions(path: Path) -> set[str]:
    """The modules a file imports, and the strings that could name a module, a role or a file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[\w./-]+", node.value):
            found |= {node.value, f"{node.value}.__main__"}
    return found


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").removeprefix("plugins/").replace("/", ".")


def changed_since(commit: str) -> list[str]:
    """The files that differ from a commit, new ones too."""
    commands = ("diff", "--name-only", commit), ("ls-files", "--others", "--exclude-standard")
    told = [subprocess.run(["git", *each], cwd=ROOT, capture_output=True, text=True, check=True) for each in commands]
    return [line for each in told for line in each.stdout.splitlines()]


if __name__ == "__main__":
    tests = nearest(changed_since(sys.argv[1]), int(sys.argv[2]))
    if not tests:
        sys.exit(f"no test is near what differs from {sys.argv[1]}")
    print("near:", *tests, flush=True)
    sys.exit(pytest.main([*tests, *sys.argv[3:]]))
