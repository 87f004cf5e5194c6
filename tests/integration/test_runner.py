"""The runner with real, tiny playbooks: outcomes, what a run may see, and that nothing of it stays behind."""

import itertools
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
import yaml

from orchestrator.play import run_directory, runner
from orchestrator.play.events import Event

TOKEN = 7
SECRET = "planted-9d1f3c7a"
KILL_SECONDS = 2.0
# A module's process has a session of its own (ansible-core calls setsid); the second sleep escapes from the tree too.
LONG = [{"ansible.builtin.shell": "setsid sleep 300 < /dev/null > /dev/null 2>&1 & touch {{ out }}/began; sleep 300"}]


class Bench:
    """Runs tasks as a playbook of their own, below a directory that the tasks know as `out`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.operation_id = uuid4()
        self.events: list[Event] = []
        self.inventory = out / "hosts.yml"
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        self.inventory.write_text(yaml.safe_dump({"all": {"hosts": {"localhost": local}}}))

    def playbook(self, name: str, tasks: list[dict[str, Any]]) -> Path:
        path = self.out / f"{name}.yml"
        play = {"name": name, "hosts": "localhost", "gather_facts": False, "tasks": tasks}
        path.write_text(yaml.safe_dump([play], sort_keys=False))
        return path

    def play(
        self,
        *playbooks: Path,
        variables: dict[str, Any] | None = None,
        on_event: Callable[[Event], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        lease_ends_at: Callable[[], float] = lambda: math.inf,
    ) -> runner.End:
        run = runner.Run(
            operation_id=self.operation_id,
            fencing_token=TOKEN,
            playbooks=playbooks,
            inventory=self.inventory,
            variables={"out": str(self.out)} | (variables or {}),
            secrets={"token": SECRET},
            state_dir=self.out,
        )
        with run_directory.make_run_directory(self.operation_id, TOKEN) as directory:
            return runner.play(
                run,
                directory,
                on_event=on_event or self.events.append,
                should_stop=should_stop,
                lease_ends_at=lease_ends_at,
            )

    def names(self, event: str) -> list[str]:
        return [one["event_data"]["name"] for one in self.events if one["event"] == event]

    def read(self, name: str) -> str:
        return (self.out / name).read_text(errors="replace")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench; at the end no process and no run directory of it may be left."""
    bench = Bench(tmp_path)
    yield bench
    assert marked(bench.operation_id) == []
    assert run_directories(bench.operation_id) == []


def run_directories(operation_id: UUID) -> list[Path]:
    return list(Path("/dev/shm").glob(f"hostwright-run-{operation_id}-*"))


def marked(operation_id: UUID) -> list[psutil.Process]:
    """The processes that carry an operation's mark, read without the code under test."""
    found = []
    mark = f"{run_directory.OPERATION_MARK}={operation_id}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in entry.read_bytes().split(b"\0"):
                found.append(psutil.Process(int(entry.parent.name)))
        except (OSError, psutil.NoSuchProcess):
            continue
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)


# outcomes


def test_plays_the_playbooks_in_order_in_one_process(bench: Bench) -> None:
    one = bench.playbook("one", [{"ansible.builtin.debug": {"msg": "first"}}])
    two = bench.playbook("two", [{"ansible.builtin.shell": "setsid sleep 300 < /dev/null > /dev/null 2>&1 &"}])
    assert bench.play(one, two) == "successful"
    assert bench.names("playbook_on_play_start") == ["one", "two"]
    assert len({event["pid"] for event in bench.events if "pid" in event}) == 1
    # The fixture checks that the process that the second one left is gone.


def test_says_failed_when_a_task_fails(bench: Bench) -> None:
    failing = bench.playbook("failing", [{"ansible.builtin.fail": {"msg": "no room"}}])
    never = bench.playbook("never", [{"ansible.builtin.debug": {"msg": "never"}}])
    assert bench.play(failing, never) == "failed"
    assert bench.names("playbook_on_play_start") == ["failing"]
    (failed,) = [event for event in bench.events if event["event"] == "runner_on_failed"]
    assert failed["event_data"]["res"]["msg"] == "no room"


def test_says_failed_when_there_is_no_such_playbook(bench: Bench) -> None:
    assert bench.play(bench.out / "missing.yml") == "failed"


def test_takes_a_rescued_failure_for_a_success(bench: Bench) -> None:
    rescued = {"block": [{"ansible.builtin.fail": {"msg": "no"}}], "rescue": [{"ansible.builtin.debug": {"msg": "ok"}}]}
    assert bench.play(bench.playbook("rescued", [rescued])) == "successful"
    assert "runner_on_failed" in {event["event"] for event in bench.events}


# stopping


def test_stops_the_whole_process_tree_soon(bench: Bench) -> None:
    asked_at = 0.0

    def should_stop() -> bool:
        nonlocal asked_at
        if (bench.out / "began").exists() and not asked_at:
            assert len(marked(bench.operation_id)) >= 4  # ansible-playbook, its worker, a shell, two sleeps
            asked_at = time.monotonic()
        return asked_at > 0

    assert bench.play(bench.playbook("long", LONG), should_stop=should_stop) == "stopped"
    assert time.monotonic() - asked_at < KILL_SECONDS
    assert marked(bench.operation_id) == []


def test_case_a13_asks_whether_it_must_stop_when_the_clock_is_set_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    jumps = itertools.count()
    clock = SimpleNamespace(time=lambda: time.monotonic() - 3600 * next(jumps), sleep=time.sleep)
    monkeypatch.setattr("pexpect.expect.time", clock)

    def should_stop() -> bool:
        asked.append(time.monotonic())
        return False

    silent = bench.playbook("silent", [{"ansible.builtin.shell": "sleep 2"}])
    assert bench.play(silent, should_stop=should_stop) == "successful"
    assert max(later - sooner for sooner, later in itertools.pairwise(asked)) < 1.5


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("a defect")])
def test_stops_and_raises_when_the_handler_raises(bench: Bench, error: Exception) -> None:
    calls = 0

    def handler(event: Event) -> None:
        nonlocal calls
        if event["event"] == "runner_on_start":
            calls += 1
            raise error

    after = [{"ansible.builtin.copy": {"dest": "{{ out }}/after", "content": "x"}}]
    with pytest.raises(type(error), match=str(error)):
        bench.play(bench.playbook("long", [*LONG, *after]), on_event=handler)
    assert calls == 1
    assert not (bench.out / "after").exists()


@pytest.fixture
def sleepers() -> Iterator[Callable[[UUID, int], None]]:
    """Starts two processes that carry the marks of an attempt, in sessions of their own; all end with the test."""
    begun: list[UUID] = []

    def start(operation_id: UUID, token: int) -> None:
        begun.append(operation_id)
        subprocess.run(
            ["sh", "-c", "setsid sleep 300 > /dev/null 2>&1 & setsid sleep 300 > /dev/null 2>&1 &"],
            env=os.environ | {run_directory.OPERATION_MARK: str(operation_id), run_directory.ATTEMPT_MARK: str(token)},
            check=True,
        )

    yield start
    for operation_id in begun:
        for process in marked(operation_id):
            process.send_signal(signal.SIGKILL)


def test_removes_what_earlier_attempts_left_and_nothing_else(
    bench: Bench, sleepers: Callable[[UUID, int], None]
) -> None:
    other = uuid4()
    sleepers(bench.operation_id, TOKEN - 1)
    sleepers(bench.operation_id, TOKEN)
    sleepers(other, 1)
    wait_for(lambda: (len(marked(bench.operation_id)), len(marked(other))) == (4, 2))
    left, own = (Path("/dev/shm") / f"hostwright-run-{bench.operation_id}-{token}-x" for token in (TOKEN - 1, TOKEN))
    for directory in (left, own):
        directory.mkdir()
        (directory / "secrets.json").touch()
    run_directory.remove_leftovers(bench.operation_id, TOKEN)
    assert (left.exists(), own.exists()) == (False, True)
    assert (len(marked(bench.operation_id)), len(marked(other))) == (2, 2)
    run_directory.kill_attempt(bench.operation_id, TOKEN)
    assert (len(marked(bench.operation_id)), len(marked(other))) == (0, 2)
    shutil.rmtree(own)


def test_removes_the_runs_of_workers_that_are_no_more(bench: Bench, sleepers: Callable[[UUID, int], None]) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    me = run_directory._identify(os.getpid())
    boot, pid, _ = me.split()
    owners = {"dead": f"{boot} {dead.pid} 1", "another": f"{boot} {pid} 1", "before": f"x {pid} 1", "mine": me}
    directories = {}
    for token, (name, owner) in enumerate(owners.items(), 1):
        directories[name] = Path("/dev/shm") / f"hostwright-run-{uuid4()}-{token}-x"
        directories[name].mkdir()
        (directories[name] / "owner").write_text(owner)
    stray = Path("/dev/shm") / "hostwright-run-stray"
    stray.mkdir()
    (stray / "owner").write_text("x 1 1")
    orphaned = UUID(directories["dead"].name.removeprefix("hostwright-run-").rsplit("-", 2)[0])
    sleepers(orphaned, 1)
    wait_for(lambda: len(marked(orphaned)) == 2)
    run_directory.remove_orphans()
    assert {name for name, directory in directories.items() if directory.exists()} == {"mine"}
    assert stray.exists(), "its name is not ours"
    shutil.rmtree(stray)
    assert marked(orphaned) == []
    shutil.rmtree(directories["mine"])


def test_knows_a_live_worker_when_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    me = run_directory._identify(os.getpid())
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: time.time() + 3600)
    assert run_directory._identify(os.getpid()) == me


def test_tells_the_tasks_until_when_they_may_act(bench: Bench) -> None:
    ends: list[float] = []

    def ends_at() -> float:
        ends.append(1000.5 + len(ends))
        return ends[-1]

    look = """
    cat $HOSTWRIGHT_LEASE_FILE > {{ out }}/first; sleep 1; cat $HOSTWRIGHT_LEASE_FILE > {{ out }}/second
    """
    play = bench.playbook("look", [{"ansible.builtin.shell": look}])
    assert bench.play(play, lease_ends_at=ends_at) == "successful", bench.events
    first, second = (float(bench.read(name)) for name in ("first", "second"))
    assert 1000 < first < second
    assert {first, second} < set(ends)


# what a run may see


def test_shows_a_run_nothing_but_what_it_needs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTWRIGHT_DATABASE_URL", f"postgresql://u:{SECRET}@h/d")
    monkeypatch.setenv("SOME_PASSWORD", SECRET)
    monkeypatch.setenv("ANSIBLE_LOG_PATH", str(bench.out / "ansible.log"))
    look = """
    directory=$(dirname {{ hostwright_secrets_file }})
    cat /proc/self/environ > {{ out }}/environ
    stat -c '%a' $directory {{ hostwright_secrets_file }} > {{ out }}/modes
    stat -f -c '%T' $directory > {{ out }}/filesystem
    cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' ' > {{ out }}/cmdlines
    grep -rl "$(cut -c 12-27 {{ hostwright_secrets_file }})" $directory > {{ out }}/holders
    echo {{ hostwright_secrets_file }} > {{ out }}/path
    """
    assert bench.play(bench.playbook("look", [{"ansible.builtin.shell": look}])) == "successful", bench.events
    environment = dict(line.split("=", 1) for line in bench.read("environ").split("\0") if "=" in line)
    assert SECRET not in bench.read("environ")
    assert environment.keys().isdisjoint({"HOSTWRIGHT_DATABASE_URL", "SOME_PASSWORD", "ANSIBLE_LOG_PATH"})
    assert environment[run_directory.OPERATION_MARK] == str(bench.operation_id)
    assert environment["HOSTWRIGHT_STATE_DIR"] == str(bench.out)
    assert bench.read("modes").split() == ["700", "600"]
    assert bench.read("filesystem").split() == ["tmpfs"]
    assert "ansible-playbook" in bench.read("cmdlines")
    assert SECRET not in bench.read("cmdlines")
    assert bench.read("holders") == bench.read("path")
    directory = Path(bench.read("path").strip()).parent
    assert directory.name.startswith(f"hostwright-run-{bench.operation_id}-")
    assert not directory.exists()


# customers' values


def test_marks_every_leaf_unsafe() -> None:
    given = {"name": "a", "list": ["b", {"c": "d"}], "tuple": ("e",), "count": 1, "ratio": 0.5, "on": True, "no": None}
    mark = "__ansible_unsafe"
    assert runner.unsafe(given) == {
        "name": {mark: "a"},
        "list": [{mark: "b"}, {"c": {mark: "d"}}],
        "tuple": [{mark: "e"}],
        "count": 1,
        "ratio": 0.5,
        "on": True,
        "no": None,
    }


def test_never_runs_a_template_that_a_customer_wrote(bench: Bench) -> None:
    payload = f"{{{{ lookup('pipe', 'touch {bench.out}/pwned') }}}}"
    control = f"{{{{ lookup('pipe', 'touch {bench.out}/control; echo ran') }}}}"
    customer = {"name": payload, "list": [payload], "deep": {"deeper": [{"leaf": payload}]}, "keys": {payload: "x"}}
    derived = {
        "host": "mc-{{ customer.name }}",
        "all": "{{ customer.list + [customer.deep.deeper[0].leaf, host] }}",
        "again": "{{ all | map('upper') | map('lower') | join('|') }}",
        "environment_of_it": "{{ customer['keys'] | dict2items }}",
    }
    written = {
        "name": "{{ customer.name }}",
        "host": "{{ host }}",
        "again": "{{ again }}",
        "control": "{{ control }}",
        "key": "{{ environment_of_it[0].key }}",
    }
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.set_fact": {"fact": "{{ all }}"}},
        {"ansible.builtin.debug": {"msg": "{{ fact }} {{ environment_of_it }}"}},
        {"ansible.builtin.debug": {"var": "customer"}},
        {"ansible.builtin.assert": {"that": ["customer.name == fact[0]"]}},
        {"ansible.builtin.copy": {"dest": "{{ out }}/written", "content": "{{ written | to_json }}"}},
    ]
    playbook = bench.playbook("hostile", tasks)
    (play,) = yaml.safe_load(playbook.read_text())
    playbook.write_text(yaml.safe_dump([play | {"vars": derived | {"written": written}}], sort_keys=False))
    variables = {"customer": runner.unsafe(customer), "control": control}
    assert bench.play(playbook, variables=variables) == "successful", [event.get("stdout") for event in bench.events]
    result = yaml.safe_load(bench.read("written"))
    assert result["name"] == payload
    assert result["host"] == f"mc-{payload}"
    assert result["again"] == "|".join([payload, payload, f"mc-{payload}"]).lower()
    assert result["key"] == payload
    assert result["control"] == "ran", "a value that is not marked runs: the test could notice"
    assert (bench.out / "control").exists()
    assert not (bench.out / "pwned").exists()
