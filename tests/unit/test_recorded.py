"""A task publishes nothing before its worker has recorded it."""

import json
import threading
import time
from pathlib import Path

import pytest

from orchestrator.domain.publications import Publication
from orchestrator.drivers.edge import recorded
from orchestrator.drivers.edge.recorded import wait_until_recorded
from orchestrator.drivers.result import PhaseError

PLANNED = [Publication("mc-router", "proxy", "route", name, "10.0.0.1:1") for name in ("a.example", "b.example")]
LATER = 0.2


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the tasks look into; not there yet."""
    path = tmp_path / "recorded.json"
    monkeypatch.setenv(recorded.VARIABLE, str(path))
    return path


def write(file: Path, text: str) -> None:
    making = file.with_suffix(".making")
    making.write_text(text)
    making.rename(file)


def text_of(publications: list[Publication]) -> str:
    return json.dumps([one.as_dict() for one in publications])


@pytest.mark.parametrize(
    "before", [None, "", "[", text_of(PLANNED[:1])], ids=["missing", "empty", "half", "one of two"]
)
def test_waits_until_all_is_recorded(file: Path, before: str | None) -> None:
    if before is not None:
        write(file, before)
    worker = threading.Timer(LATER, write, (file, text_of(PLANNED)))
    started = time.monotonic()
    worker.start()
    wait_until_recorded(iter(PLANNED), 10)
    assert time.monotonic() - started >= LATER
    worker.join()


def test_does_not_wait_for_what_is_recorded(file: Path) -> None:
    write(file, text_of(PLANNED))
    wait_until_recorded(PLANNED[:1], 0)


def test_gives_up_and_names_what_is_missing(file: Path) -> None:
    write(file, text_of(PLANNED[:1]))
    with pytest.raises(PhaseError, match=r"^route b\.example was not published, .* within 0\.1 s") as caught:
        wait_until_recorded(PLANNED, 0.1)
    assert caught.value.code == "internal"


def test_does_not_wait_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(recorded.VARIABLE, raising=False)
    wait_until_recorded(PLANNED, 0)
