"""Plays a tiny playbook as an operation is played, which shows whether this machine can carry anything out."""

import math
import time
from pathlib import Path
from uuid import uuid4

from orchestrator.domain.errors import ConfigurationError, WorkerUnfit
from orchestrator.drivers.secrets import Secrets, read_secrets
from orchestrator.play import runner
from orchestrator.play.events import Heard
from orchestrator.play.named_secrets import read_named_secrets
from orchestrator.play.run_directory import describe_no_room, make_run_directory
from orchestrator.settings import Settings

_PLAYBOOK = Path(__file__).with_name("self_test.yml")
_PLAY = "self-test"
_SECONDS = 60
"""How long it may take. On an idle machine it takes less than a second."""


def self_test(settings: Settings) -> None:
    """Read the secrets, and play the playbook with the site's inventory. Raises WorkerUnfit, with Ansible's words."""
    heard, ends_at = Heard(), time.monotonic() + _SECONDS
    try:
        run = _make_run(settings, read_secrets(settings.secrets_path))
        with make_run_directory(run.operation_id, run.fencing_token) as directory:
            end = runner.play(
                run,
                directory,
                on_event=heard.hear,
                should_stop=lambda: time.monotonic() > ends_at,
                lease_ends_at=lambda: math.inf,
            )
    except ConfigurationError as error:
        raise WorkerUnfit(str(error)) from error
    except OSError as error:
        raise WorkerUnfit(describe_no_room(error)) from error
    fault = _find_fault(heard, end)
    if fault is None:
        try:
            read_named_secrets(settings)  # last, because ansible-playbook says better what it lacks
        except ConfigurationError as error:
            fault = str(error)
    if fault is not None:
        raise WorkerUnfit(Secrets(settings.secrets_path).scrub(fault))  # Ansible's words may quote any variable


def _find_fault(heard: Heard, end: runner.End) -> str | None:
    fault = heard.find_fault([_PLAY], successful=end == "successful")
    if end == "stopped":
        return f"the self-test of the worker took longer than {_SECONDS} s"
    if end == "failed" and fault is None:
        return f"the task of the self-test failed: play {_PLAYBOOK} by hand"
    return fault


def _make_run(settings: Settings, secrets: dict[str, str]) -> runner.Run:
    return runner.Run(
        operation_id=uuid4(),
        fencing_token=0,
        playbooks=[_PLAYBOOK],
        inventory=settings.inventory,
        variables={},
        secrets=secrets,
        state_dir=settings.state_dir,
    )
