"""Workers that cannot work: they say so at their start, and put back what they took when they find out later."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from orchestrator.domain.errors import Code, LostLease, WorkerUnfit
from orchestrator.domain.models import OperationRow
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import InstanceStatus, OperationStatus, PhaseStatus
from orchestrator.play.inventory import load_catalogue
from orchestrator.settings import PROJECT_DIR
from orchestrator.store import leases, sweep
from orchestrator.worker.attempt import Attempt
from orchestrator.worker.carry import carry_out, put_back
from tests.integration.test_invented_kind import WAKE_UP
from tests.integration.test_invented_kind import Site as Stopped
from tests.integration.test_invented_kind import site as stopped_site
from tests.integration.test_runner import marked
from tests.integration.test_worker import QUICK, SLOW, Site, site, tear_down
from tests.support import storage

__all__ = ["site", "stopped_site"]

WORKER = (sys.executable, "-m", "orchestrator.cli", "worker")
BREAKS_EVENTS = {"ANSIBLE_STDOUT_CALLBACK": "awx_display"}
"""With this in a worker's environment no event of a run arrives."""


def in_own_mounts(command: str, worker: tuple[str, ...] = WORKER) -> tuple[str, ...]:
    """A worker that sees mounts of its own, which the command makes. It needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    return ("unshare", "--mount", "sh", "-c", f'{command} && exec "$@"', "sh", *worker)


def make_environment(site: Site, tmp_path: Path) -> dict[str, str]:
    """The environment of a worker with an inventory and secrets of its own."""
    shutil.copytree(PROJECT_DIR / "inventory" / "lab", tmp_path / "inventory", symlinks=False)
    shutil.copy(site.lab.state_dir / "lab" / "secrets.json", tmp_path / "secrets.json")
    (tmp_path / "secrets.json").chmod(0o600)
    return dict(os.environ) | {
        "HOSTWRIGHT_DATABASE_URL": site.database.url,
        "HOSTWRIGHT_STATE_DIR": str(site.lab.state_dir),
        "HOSTWRIGHT_INVENTORY": str(tmp_path / "inventory"),
        "HOSTWRIGHT_SECRETS_FILE": str(tmp_path / "secrets.json"),
        **{f"HOSTWRIGHT_{name.upper()}": value for name, value in QUICK.items()},
    }


@contextmanager
def worker(
    site: Site, environment: Mapping[str, str], command: tuple[str, ...] = WORKER
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process with this environment, which is told to leave at the end."""
    with site.log.open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=PROJECT_DIR
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, site.log.read_text()
    finally:
        process.kill()
        process.wait()


# at the start

Break = Callable[[Path, dict[str, str]], tuple[str, ...]]


def set_variables(**variables: str) -> Break:
    def change(tmp_path: Path, environment: dict[str, str]) -> tuple[str, ...]:
        environment.pop("LC_ALL", None)
        environment.update(variables)
        return WORKER

    return change


def spoil_inventory(tmp_path: Path, environment: dict[str, str]) -> tuple[str, ...]:
    (tmp_path / "inventory" / "broken.yml").write_text("all:\n  hosts: [localhost\n")
    return WORKER


def open_secrets(tmp_path: Path, environment: dict[str, str]) -> tuple[str, ...]:
    (tmp_path / "secrets.json").chmod(0o644)
    return WORKER


def hide_ansible(tmp_path: Path, environment: dict[str, str]) -> tuple[str, ...]:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(Path(sys.executable).resolve())
    environment["PYTHONPATH"] = sysconfig.get_path("purelib")
    return (str(python), *WORKER[1:])


def take_terminals(tmp_path: Path, environment: dict[str, str]) -> tuple[str, ...]:
    return in_own_mounts("mount -t tmpfs tmpfs /dev/pts")


def fill_tmpfs(tmp_path: Path, environment: dict[str, str]) -> tuple[str, ...]:
    fill = "mount -t tmpfs -o size=64k tmpfs /dev/shm; dd if=/dev/zero of=/dev/shm/fill bs=4k 2> /dev/null; true"
    return in_own_mounts(fill)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(set_variables(LC_ALL="C"), "requires the locale encoding to be UTF-8", id="a15_lc_all_c"),
        pytest.param(set_variables(LANG="xx_YY.UTF-8"), "unsupported locale setting", id="a15_unknown_locale"),
        pytest.param(spoil_inventory, "broken.yml", id="a15_yaml_error_in_the_inventory"),
        pytest.param(take_terminals, "out of pty devices", id="a15_empty_dev_pts"),
        pytest.param(hide_ansible, "ansible-playbook", id="a15_no_ansible_playbook"),
        pytest.param(open_secrets, "chmod 600", id="a16_secrets_for_all"),
        pytest.param(fill_tmpfs, "No space left on device", id="a16_full_tmpfs"),
        pytest.param(set_variables(**BREAKS_EVENTS), "its events did not arrive", id="a14_broken_event_stream"),
    ],
)
def test_case_a15_refuses_to_start_and_says_why(site: Site, tmp_path: Path, spoil: Break, words: str) -> None:
    operation_id = site.place()
    environment = make_environment(site, tmp_path)
    command = spoil(tmp_path, environment)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=PROJECT_DIR)
    assert done.returncode == 1, done.stderr
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert site.operation(operation_id).attempt == 0


# while it runs


def test_case_a16_puts_an_order_back_and_takes_no_more_until_it_can_work(site: Site, tmp_path: Path) -> None:
    environment, healthy = make_environment(site, tmp_path), dict(QUICK)
    secrets = tmp_path / "secrets.json"
    with worker(site, environment | {"HOSTWRIGHT_CONCURRENCY": "2"}):
        site.wait(lambda: sweep.live_workers(site.database, within_seconds=60) == 1)
        secrets.chmod(0o644)
        operation_id = site.order()
        site.wait(lambda: sweep.live_workers(site.database, within_seconds=60) == 0)
        put_back = site.operation(operation_id)
        assert (put_back.status, put_back.losses, put_back.error) == (OperationStatus.QUEUED, 0, None)
        assert put_back.attempt == 1
        assert "chmod 600" in site.log.read_text()
        with site.worker(**healthy):
            operation = site.finish(operation_id)
            assert operation.status is OperationStatus.SUCCEEDED, operation.error
            tear_down(site, operation_id)
            others = [site.order() for _ in range(3)]
            done = [site.finish(other) for other in others]
            assert [each.attempt for each in done] == [1, 1, 1], "the one that cannot work takes none"
            for other in others:
                tear_down(site, other)
        secrets.chmod(0o600)
        site.wait(lambda: sweep.live_workers(site.database, within_seconds=60) == 1)
        again = site.order()
        assert site.finish(again).status is OperationStatus.SUCCEEDED
        tear_down(site, again)
    log = site.log.read_text()
    assert log.count("takes no operations until it can work again") == 1
    assert log.count("can work again and takes operations") == 1


def test_case_a15_puts_an_order_back_with_ansibles_words(site: Site, tmp_path: Path) -> None:
    environment = make_environment(site, tmp_path)
    with worker(site, environment):
        site.wait(lambda: sweep.live_workers(site.database, within_seconds=60) == 1)
        spoil_inventory(tmp_path, environment)
        operation_id = site.order()
        site.wait(lambda: sweep.live_workers(site.database, within_seconds=60) == 0)
        assert site.operation(operation_id).status is OperationStatus.QUEUED
        assert "parse inventory source" in site.log.read_text()
        assert "broken.yml" in site.log.read_text()
        (tmp_path / "inventory" / "broken.yml").unlink()
        operation = site.finish(operation_id)
        assert (operation.status, operation.losses) == (OperationStatus.SUCCEEDED, 0)
        tear_down(site, operation_id)


@pytest.mark.parametrize("phase", [Phase.CONFIGURE_CONTAINER, Phase.WAIT_FOR_AGENT])
def test_case_a19_ends_a_run_soon_when_its_disk_is_full(site: Site, tmp_path: Path, phase: Phase) -> None:
    environment = make_environment(site, tmp_path)
    with worker(site, environment, in_own_mounts("mount -t tmpfs -o size=4m tmpfs /dev/shm")) as process:
        fill = Path(f"/proc/{process.pid}/root/dev/shm/fill")
        if phase is Phase.WAIT_FOR_AGENT:
            site.lab.fault(**SLOW)
        else:
            # The phase lasts until the disk is full.
            site.lab.fault(target="proxmox", method="PUT", path="/config", error="delay", seconds=3, times=1)
        operation_id = site.order()
        site.wait_for_phase(operation_id, phase)
        with suppress(OSError), fill.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        began = time.monotonic()
        site.wait(lambda: site.operation(operation_id).status is OperationStatus.QUEUED)
        assert time.monotonic() - began < 8
        site.lab.clear_faults()
        fill.unlink()
        operation = site.finish(operation_id)
        assert (operation.status, operation.losses) == (OperationStatus.SUCCEEDED, 0), operation.error
        tear_down(site, operation_id)
    assert "No space left on device" in site.log.read_text()


def test_case_a19_a_playbook_that_is_killed_is_no_fault_of_its_order(site: Site, tmp_path: Path) -> None:
    site.lab.fault(**SLOW)
    operation_id = site.order()
    with worker(site, make_environment(site, tmp_path)):
        site.wait_for_phase(operation_id, Phase.WAIT_FOR_AGENT)
        for process in marked(operation_id):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        operation = site.finish(operation_id)
        assert (operation.status, operation.attempt, operation.losses) == (OperationStatus.SUCCEEDED, 2, 0)
        tear_down(site, operation_id)
    assert "ansible-playbook ended without a failed task" in site.log.read_text()


# what is never a success


def play_unseen(site: Stopped, left_seconds: float = 900) -> OperationRow:
    """Let this process, as an unfit worker, take the operation whose turn it is."""
    claim = leases.claim_next(site.database, storage.claimant())
    assert claim is not None
    claim = claim.model_copy(update={"left_seconds": left_seconds})
    attempt = Attempt(site.database, site.settings, claim, time.monotonic(), threading.Event())
    with attempt:
        with pytest.raises(WorkerUnfit) as fault:
            carry_out(attempt, load_catalogue(site.settings.catalogue_path))
        with suppress(LostLease):
            put_back(attempt, fault.value)
    return storage.operation(site.database, claim.operation.id)


def test_case_a14_never_succeeds_unseen(stopped_site: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    site = stopped_site
    site.place(WAKE_UP)
    with monkeypatch.context() as broken:
        broken.setenv(*next(iter(BREAKS_EVENTS.items())))
        operation = play_unseen(site)
    assert operation.status is OperationStatus.QUEUED
    assert operation.losses == 0
    assert storage.instance(site.database, site.server.id).status is InstanceStatus.STOPPED
    assert site.power == "running", "the playbook itself succeeded"
    again = site.carry_out()
    assert again.status is OperationStatus.SUCCEEDED
    assert [phase.status for phase in again.phases or ()] == [PhaseStatus.OK] * 2


def test_case_a15_ends_an_order_that_only_unfit_workers_take(stopped_site: Stopped) -> None:
    site = stopped_site
    site.place(WAKE_UP)
    site.settings.secrets_path.chmod(0o644)
    operation = play_unseen(site, left_seconds=-1)
    assert operation.status is OperationStatus.CLEANING
    assert operation.error is not None
    assert operation.error.code is Code.INTERNAL
    assert "no worker could carry it out" in operation.error.message
    assert "chmod 600" in str(operation.error.detail)
    ended = [play_unseen(site) for _ in range(9)][-1]
    assert (ended.attempt, ended.status) == (10, OperationStatus.FAILED), "it does not go round for ever"
    assert ended.cleanup is not None
    assert ended.cleanup.leaked


def test_case_a15_ends_an_order_that_makes_every_worker_unfit(stopped_site: Stopped) -> None:
    """What is wrong with one playbook shows in no self-test, so that each worker takes the order again."""
    site = stopped_site
    site.place(WAKE_UP)
    site.settings.secrets_path.chmod(0o644)
    assert [play_unseen(site).status for _ in range(10)] == [*[OperationStatus.QUEUED] * 9, OperationStatus.CLEANING]
    site.settings.secrets_path.chmod(0o600)
    ended = site.carry_out()
    assert ended.status is OperationStatus.FAILED
    assert ended.error is not None
    assert "no worker could carry it out" in ended.error.message


def test_case_a15_tells_no_secret_of_a_fault(stopped_site: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    site = stopped_site
    secret = "e5c1-not-to-be-told"
    monkeypatch.setenv("ANSIBLE_FORKS", secret)
    site.settings.secrets_path.write_text(json.dumps({"other": secret}))
    site.place(WAKE_UP)
    claim = leases.claim_next(site.database, storage.claimant())
    assert claim is not None
    with (
        pytest.raises(WorkerUnfit) as fault,
        Attempt(site.database, site.settings, claim, time.monotonic(), threading.Event()) as attempt,
    ):
        carry_out(attempt, load_catalogue(site.settings.catalogue_path))
    assert secret not in str(fault.value)
    assert "***" in str(fault.value)
