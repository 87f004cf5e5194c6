"""The order inside the lab: who may import whom."""

from pathlib import Path

import pytest

from orchestrator.settings import PROJECT_DIR
from tests.unit.test_structure import imports, reachable

LAB = PROJECT_DIR / "orchestrator" / "lab"
PREFIX = "orchestrator.lab"
STAND_INS = LAB / "guests" / "artifacts"
"""Programs that are copied into containers. They import nothing of ours."""

# A room imports only from the lines above its own, and never from another room of its own line.
LAYERS: list[set[str]] = [
    {"errors", "history"},
    {"faults", "files", "guests"},
    {"servers"},
    {"addresses", "proxmox", "names", "edge"},
    {"site", "control"},
    {"data_centre"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
PRODUCTION = {"orchestrator.processes"}
"""What the lab uses of production code. A stand-in that shared a driver's code would share its mistakes."""
MODULES = {
    ".".join(path.relative_to(PROJECT_DIR).with_suffix("").parts): path
    for path in sorted(LAB.rglob("*.py"))
    if path.name != "__init__.py" and not path.is_relative_to(STAND_INS)
}


def imported_by(path: Path) -> set[str]:
    """The modules of ours that a file imports."""
    named = imports(path)
    return {name for name in named | {name.rpartition(".")[0] for name in named} if name in MODULES}


def room_of(module: str) -> str:
    return module.removeprefix(f"{PREFIX}.").partition(".")[0]


GRAPH = {module: imported_by(path) for module, path in MODULES.items()}


def test_knows_the_layer_of_every_room() -> None:
    assert {room_of(module) for module in MODULES} == set(RANK)


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_what_lies_below(module: str) -> None:
    room = room_of(module)
    for imported in map(room_of, GRAPH[module]):
        assert imported == room or RANK[imported] < RANK[room], f"{module} must not know {imported}"


def test_imports_in_no_circle() -> None:
    for module in GRAPH:
        assert module not in reachable(GRAPH, module), f"{module} imports itself through others"


def test_uses_nothing_else_of_production() -> None:
    for module, path in MODULES.items():
        ours = {name for name in imports(path) if name.startswith("orchestrator.")}
        others = {name for name in ours if not f"{name}.".startswith(f"{PREFIX}.")}
        for name in others:
            assert name.rpartition(".")[0] in PRODUCTION, f"{module} must not know {name}"


@pytest.mark.parametrize("program", sorted(STAND_INS.glob("*_server.py")), ids=lambda path: path.name)
def test_stand_in_runs_without_the_lab(program: Path) -> None:
    assert not {name for name in imports(program) if name.startswith("orchestrator")}
