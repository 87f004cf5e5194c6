"""The documents and the code say the same, and no link leads nowhere."""

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote

import pytest
from typer.main import get_command

from orchestrator.cli.main import app
from orchestrator.domain.errors import PROBLEM_STATUS, Code, ProblemCode
from orchestrator.domain.operations import PROVISION, TEARDOWN, OperationKind
from orchestrator.domain.phases import PLAYED
from orchestrator.lab.proxmox.privileges import PRIVILEGES, STORAGE
from orchestrator.settings import PROJECT_DIR, Settings
from tests.chaos.scenarios import SCENARIOS
from tests.hosts.scenarios import SCENARIOS as HOSTS_SCENARIOS

FOLDERS = ("agent", "docs", "roles")
PAGES = sorted(
    {*PROJECT_DIR.glob("*.md"), *(page for folder in FOLDERS for page in (PROJECT_DIR / folder).rglob("*.md"))}
)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
TEMPLATE = "## A template on Proxmox"
COMMAND = re.compile(r"^(?:\$ )?hostwright (?P<command>[a-z]+)")


def read(name: str) -> str:
    return (PROJECT_DIR / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next of the same or a higher rank."""
    rank = heading.index(" ")
    below = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"^#{{1,{rank}}} ", below, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every table's rows, without heads and rules."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    heads = {number - 1 for number, line in enumerate(cells) if set("".join(line)) <= set("-:")}
    return [line for number, line in enumerate(cells) if number not in heads | {one + 1 for one in heads}]


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", CODE_BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_DIR)))
def test_links_only_to_what_is_there(page: Path) -> None:
    for link in LINK.finditer(CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link["target"]):
            continue
        path, _, anchor = unquote(link["target"]).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link["target"]
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link["target"]


def test_reaches_every_page_from_the_readme() -> None:
    reached, waiting = set(), [PROJECT_DIR / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for link in LINK.finditer(page.read_text(encoding="utf-8")):
            target = (page.parent / link["target"].partition("#")[0]).resolve()
            below = [target] if target.suffix == ".md" else sorted(target.glob("*.md")) if target.is_dir() else []
            waiting += [found for found in below if found in PAGES and found not in reached]
    assert set(PAGES) <= reached


# errors


def explained(heading: str) -> list[list[str]]:
    return rows(section(read("docs/errors.md"), heading))


def test_explains_every_code_of_a_failed_operation_and_no_other() -> None:
    assert [row[0] for row in explained("## A failed operation")] == [f"`{code}`" for code in Code]


def test_explains_every_code_of_a_refused_request_with_its_status_and_no_other() -> None:
    told = {row[0]: int(row[1]) for row in explained("## A refused request")}
    assert told == {f"`{code}`": PROBLEM_STATUS[code] for code in ProblemCode}


def test_gives_every_code_a_cause_and_a_remedy() -> None:
    for heading, width in (("## A failed operation", 3), ("## A refused request", 4)):
        for row in explained(heading):
            assert len(row) == width, row
            assert all(row), row


# phases


@pytest.mark.parametrize(("kind", "sentence"), [(PROVISION, "An order runs:"), (TEARDOWN, "Deleting runs:")])
def test_lists_the_phases_with_their_limits_and_codes(kind: OperationKind, sentence: str) -> None:
    table = rows(read("README.md").split(f"{sentence}\n", 1)[1].split("\n\n")[0])
    assert [re.sub(r"[*\[\]]|\(.*\)", "", row[0]) for row in table] == [str(phase) for phase in kind.phases]
    for row, phase in zip(table, kind.phases, strict=True):
        assert row[3] == (f"{phase.limit_seconds} s" if phase.is_played else "–")
        assert {code.strip("`") for code in row[4].split()} <= set(map(str, Code))


# privileges


def test_lists_the_privileges_that_the_token_of_the_lab_has() -> None:
    text = section(read("README.md"), "### 2. An API token")
    listed: dict[str, list[str]] = {}
    for privileges, where, _ in rows(text):
        path = re.findall(r"`([^`]+)`", where)[0].replace("<storage>", STORAGE)
        listed.setdefault(path, []).extend(re.findall(r"`([^`]+)`", privileges))
    assert listed == {path: list(privileges) for path, privileges in PRIVILEGES.items()}
    role = re.search(r'--privs "([^"]+)"', text)
    assert role is not None
    assert role[1].split() == [privilege for privileges in PRIVILEGES.values() for privilege in privileges]


# settings


def test_names_only_settings_that_are_there() -> None:
    others = {"CONFIG", "URL", "TOKEN", "TEST_DATABASE_URL", "OPERATION", "LEASE_FILE"}
    known = {f"HOSTWRIGHT_{name}" for name in {field.upper() for field in Settings.model_fields} | others}
    for page in PAGES:
        assert set(re.findall(r"HOSTWRIGHT_[A-Z_]+", page.read_text(encoding="utf-8"))) <= known, page


def test_describes_every_setting() -> None:
    told = {row[0].strip("`") for row in rows(section(read("docs/configuration.md"), "## Settings"))}
    assert told == set(Settings.model_fields)
    assert all(field.description and field.description.endswith(".") for field in Settings.model_fields.values())


# commands


def test_shows_only_commands_that_are_there() -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    for page in PAGES:
        for block in CODE_BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                for found in COMMAND.finditer(line.partition(" #")[0]):
                    assert found["command"] in commands, line


def made(*targets: str) -> str:
    command = ["make", "--no-print-directory", *targets]
    return subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=True).stdout


def test_shows_the_targets_that_make_lists_when_it_is_told_none() -> None:
    assert made() == made("help")
    assert f"$ make\n{made()}```" in read("CONTRIBUTING.md")


def test_runs_only_playbooks_that_are_there() -> None:
    names = {phase.role for phase in set(PLAYED)}
    for page in PAGES:
        for found in re.findall(r"playbooks/phases/(\{[^}]+\}|\w+)\.yml", page.read_text(encoding="utf-8")):
            assert set(found.strip("{}").split(",")) <= names, page


# promises


def test_names_every_scenario_of_chaos_and_hosts_and_no_other() -> None:
    scenarios = HOSTS_SCENARIOS | SCENARIOS.keys()
    told = rows(section(read("docs/reliability.md"), "## What is promised"))
    patterns = {name for row in told for name in re.findall(r"`([a-z0-9*-]+)`", row[1])}
    assert {name for name in scenarios if not any(fnmatch(name, pattern) for pattern in patterns)} == set()
    assert {pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in scenarios)} == set()


def test_case_f6_names_the_agents_token_where_the_template_is_made() -> None:
    for text in (section(read("README.md"), "### 3. Templates"), section(read("docs/containers.md"), TEMPLATE)):
        assert "install_agent_token_file" in text
        assert "agent_token" in text


def test_case_f7_makes_a_template_that_fits_what_is_ordered() -> None:
    text = section(read("docs/containers.md"), TEMPLATE)
    command = next(line for line in text.replace("\\\n", " ").splitlines() if line.startswith("pct create"))
    assert re.search(r"--rootfs \S+:8 ", command + " ")
    assert "--features nesting=1" in command
    assert "226/NAMESPACE" in text


def test_case_f8_says_how_a_locked_template_is_unlocked() -> None:
    assert "pct unlock" in section(read("docs/runbook.md"), "## clone-locked: a template stays locked")


# cases

CASE_TEST = re.compile(
    r"^def test_case_(?P<ids>[a-g]\d+(?:_(?:and_)?[a-g]\d+)*)_|\bid=\"(?P<id>[a-g]\d+)_", re.MULTILINE
)
"""A test of one case or more, or a parameter of one."""


def find_cases(text: str) -> set[str]:
    """The ids of the cases that a file of tests names."""
    found = [test["ids"] or test["id"] for test in CASE_TEST.finditer(text)]
    return {name.upper() for ids in found for name in re.findall(r"[a-g]\d+", ids)}


def listed_cases() -> dict[str, list[str]]:
    """The tests that each row names, by its id."""
    return {row[0]: re.findall(r"`([^`]+)`", row[2]) for row in rows(read("docs/cases.md"))}


def test_lists_every_case_that_has_a_test_and_no_other() -> None:
    told = [row[0] for row in rows(read("docs/cases.md"))]
    texts = [path.read_text(encoding="utf-8") for path in (PROJECT_DIR / "tests").rglob("*.py")]
    assert len(told) == len(set(told))
    assert set(told) == {name for text in texts for name in find_cases(text)}


@pytest.mark.parametrize("case", listed_cases())
def test_names_tests_of_a_case_that_are_there(case: str) -> None:
    for name in listed_cases()[case]:
        file, _, test = name.partition("::")
        text = read(f"tests/{file}")
        assert not test or f"\ndef {test}(" in text, name
        assert case in find_cases(text), name


def test_says_of_every_case_what_was_mended() -> None:
    assert all(len(row) == 4 and all(row) for row in rows(read("docs/cases.md")))
