"""Nothing is published before it is recorded: the wait of a task for its worker.

The record is written ahead, as a database writes its log. A task plans what it will publish and hands the plan back as
its result. The worker writes it into the database, and then into the file that HOSTWRIGHT_RECORDED_FILE names: a JSON
list of every publication that is recorded for the instance, replaced in one step. The task that publishes looks into
that file and begins only when it holds all that it is about to make.

So whoever is killed, and whenever, the record of a thing is in the database before the thing is in the world, and
whoever cleans up finds it there. The other way round, a record of something that was never made does no harm: removing
what is absent is success. By hand there is no worker, no variable and no wait.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from orchestrator.domain.errors import Code
from orchestrator.domain.publications import Publication
from orchestrator.drivers.result import PhaseError

VARIABLE = "HOSTWRIGHT_RECORDED_FILE"
INTERVAL = 0.005
"""Seconds between two looks; the record is there after a few milliseconds, unless the database is away."""


def wait_until_recorded(publications: Iterable[Publication], patience: float) -> None:
    """Returns once all are recorded. Raises PhaseError `internal` after `patience` seconds.

    That is the limit of the phase. A worker that cannot write for so long loses its lease before, which ends the task.
    """
    file = os.environ.get(VARIABLE)
    if not file:
        return
    wanted, deadline = frozenset(publications), time.monotonic() + patience
    while missing := wanted - _recorded(Path(file)):
        if time.monotonic() > deadline:
            first = min(missing)
            raise PhaseError(
                Code.INTERNAL,
                f"{first.type} {first.name} was not published, because the worker did not record it within "
                f"{patience:g} s: see whether its database answers",
            )
        time.sleep(INTERVAL)


def _recorded(file: Path) -> set[Publication]:
    try:
        return {Publication.from_dict(entry) for entry in json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError):
        return set()  # it is not there yet
