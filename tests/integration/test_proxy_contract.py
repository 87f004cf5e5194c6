"""What every proxy driver keeps, against the lab's proxies with real players; and what files of Traefik need beyond."""

import ctypes
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.drivers.proxy.base import ProxyDriver, Registration
from orchestrator.drivers.proxy.factory import open_proxy, parse_proxy, publications_of
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets
from tests.support.edge_kinds import (
    FOREIGN,
    NAME,
    PUBLIC_PORT,
    SERVER,
    Bridge,
    Kind,
    McRouter,
    Traefik,
    directory_of,
    here,
    register,
    unregister,
    wanted,
)
from tests.support.fix_lab import Lab

# Of inotify(7).
MODIFIED, MOVED_HERE, CREATED = 0x2, 0x80, 0x100
KINDS = {"bridge": Bridge(), "mc-router": McRouter(), "traefik-tcp": Traefik("tcp"), "traefik-udp": Traefik("udp")}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def driver(lab: Lab, kind: Kind) -> Iterator[ProxyDriver]:
    """The kind's driver; nothing is registered afterwards."""
    yield kind.driver(lab)
    for name in (NAME, FOREIGN):
        kind.clear(lab, name)
        assert kind.listed(lab, name) == set()


def remove(driver: ProxyDriver, registered: Registration, *, check: bool = False) -> bool:
    """By its record."""
    return driver.remove(publications_of(driver.proxy, registered), registered.server_id, check=check)


def test_player_gets_through_from_registering_to_removing(lab: Lab, kind: Kind, driver: ProxyDriver) -> None:
    with kind.backend() as port:
        assert kind.player_reaches(lab) is None
        for changed in (True, False):
            assert driver.ensure(wanted(kind, port)) is changed
            assert kind.player_reaches(lab) == port
            assert driver.routes(wanted(kind, port), driver.backends())
        for changed in (True, False):
            assert remove(driver, wanted(kind, port)) is changed
            assert kind.player_reaches(lab) is None
            assert not driver.routes(wanted(kind, port), driver.backends())


def test_another_address_replaces_the_first(lab: Lab, kind: Kind, driver: ProxyDriver) -> None:
    with kind.backend() as first, kind.backend() as second:
        for port in (first, second):
            assert driver.ensure(wanted(kind, port))
            assert kind.listed(lab, NAME) == {("127.0.0.1", port)}
            assert kind.player_reaches(lab) == port
        assert not driver.routes(wanted(kind, first), driver.backends())


def test_check_changes_nothing_and_says_whether_it_would(lab: Lab, kind: Kind, driver: ProxyDriver) -> None:
    checking = kind.driver(lab, check=True)
    assert checking.ensure(wanted(kind, 1), check=True)
    assert not remove(checking, wanted(kind, 1), check=True)
    assert kind.listed(lab, NAME) == set()
    driver.ensure(wanted(kind, 1))
    assert not checking.ensure(wanted(kind, 1), check=True)
    assert checking.ensure(wanted(kind, 2), check=True)
    assert remove(checking, wanted(kind, 1), check=True)
    assert kind.listed(lab, NAME) == {("127.0.0.1", 1)}


def test_registration_of_somebody_else_stays(lab: Lab, kind: Kind, driver: ProxyDriver) -> None:
    kind.plant(lab, FOREIGN)
    theirs = kind.listed(lab, FOREIGN)
    assert theirs == {("127.0.0.1", 1)}
    for port in (2, 3):
        driver.ensure(wanted(kind, port))
    remove(driver, wanted(kind, 3))
    assert kind.listed(lab, FOREIGN) == theirs


@pytest.mark.parametrize("name", ["bridge", "mc-router", "traefik-udp"])
def test_task_says_what_it_did_or_would_do(lab: Lab, name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    usual = kind.usual(lab, tmp_path)
    with kind.backend() as port:
        driver = usual.proxy["driver"]
        said = [
            (run.ok().tasks[-1].changed, run.tasks[-1].result["progress"])
            for run in (
                register(lab, usual, kind, port, "--check"),
                register(lab, usual, kind, port),
                register(lab, usual, kind, port, "--check"),
                unregister(lab, usual, kind, port, "--check"),
            )
        ]
        assert kind.player_reaches(lab) == port
        assert unregister(lab, usual, kind, port).ok().tasks[-1].changed
    assert said == [
        (True, f"{NAME} would be published: {driver} changed"),
        (True, f"{NAME} published: {driver} changed"),
        (False, f"{NAME} would be published: {driver} unchanged"),
        (True, f"{NAME} would be withdrawn from {driver}"),
    ]
    assert kind.listed(lab, NAME) == set()


@pytest.mark.parametrize("name", ["bridge", "mc-router", "traefik-udp"])
def test_proxy_that_is_away_is_waited_for_and_then_named(lab: Lab, name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    with kind.away(lab, tmp_path) as away:
        for run in (register(lab, away, kind, 1), unregister(lab, away, kind, 1)):
            assert run.failure["code"] == "velocity-failed"
            assert "Connection refused" in run.failure["msg"]
            assert "running and its address right?" in run.failure["msg"]
            assert run.failure.get("withdrawn", []) == []
    assert kind.listed(lab, NAME) == set()


@pytest.mark.parametrize("name", ["bridge", "mc-router", "traefik-udp"])
def test_wrong_credentials_end_at_once_and_are_named(lab: Lab, name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    denied = kind.denied(lab, tmp_path)
    for run in (register(lab, denied, kind, 1, timeout=170), unregister(lab, denied, kind, 1, timeout=170)):
        assert run.failure["code"] == "velocity-failed"
        assert kind.refusal in run.failure["msg"]
        assert "planted-wrong-token" not in run.output
    assert kind.listed(lab, NAME) == set()


# Traefik's files


@pytest.fixture
def files(lab: Lab) -> Iterator[ProxyDriver]:
    """The driver of Traefik; its directory is empty afterwards."""
    yield KINDS["traefik-udp"].driver(lab)
    for path in directory_of(lab).iterdir():
        path.unlink()
    assert lab.inventory()["traefikErrors"] == []


def leading_to(port: int, name: str = NAME, server_id: str = SERVER) -> Registration:
    return Registration(name, server_id, "127.0.0.1", port, protocol="udp", public_port=PUBLIC_PORT)


def path_of(lab: Lab) -> Path:
    return directory_of(lab) / f"{NAME}.yml"


def test_pain_3_file_is_removed_under_the_name_it_was_written(lab: Lab, files: ProxyDriver) -> None:
    files.ensure(leading_to(1))
    assert list(directory_of(lab).iterdir()) == [path_of(lab)]
    assert remove(files, leading_to(1))
    assert list(directory_of(lab).iterdir()) == []


def test_file_holds_our_mark_and_what_traefik_reads(lab: Lab, files: ProxyDriver) -> None:
    files.ensure(leading_to(7))
    mark, _, content = path_of(lab).read_text().partition("\n")
    assert mark == f"# Managed by Hostwright. instance={SERVER}"
    assert json.loads(content) == {
        "udp": {
            "routers": {NAME: {"entryPoints": ["udp-30990"], "service": NAME}},
            "services": {NAME: {"loadBalancer": {"servers": [{"address": "127.0.0.1:7"}]}}},
        }
    }
    assert path_of(lab).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("udp: {}\n", "carries no mark of Hostwright"),
        ("", "carries no mark of Hostwright"),
        ("# Managed by Hostwright. instance=another\n{}\n", "carries the mark of instance another"),
        ("# Managed by Hostwright. instance=another (Eve's)\n{}\n", "carries the mark of instance another"),
        (f"{{}}\n# Managed by Hostwright. instance={SERVER}", "carries no mark of Hostwright"),
    ],
    ids=["theirs", "empty", "another instance's", "with a note", "mark elsewhere"],
)
def test_file_without_our_mark_is_neither_replaced_nor_removed(
    lab: Lab, files: ProxyDriver, text: str, words: str
) -> None:
    path_of(lab).write_text(text)
    with pytest.raises(PhaseError, match=words) as caught:
        files.ensure(leading_to(1))
    assert caught.value.code == "velocity-failed"
    assert not remove(files, leading_to(1)), "nothing of this instance is there"
    assert path_of(lab).read_text() == text


def test_file_of_ours_with_a_note_of_somebody_is_ours(lab: Lab, files: ProxyDriver) -> None:
    files.ensure(leading_to(1))
    text = path_of(lab).read_text()
    noted = text.replace("\n", " (keep until May)\n", 1)
    path_of(lab).write_text(noted)
    assert files.ensure(leading_to(1))
    assert path_of(lab).read_text() == text
    path_of(lab).write_text(noted)
    assert remove(files, leading_to(1))
    assert not path_of(lab).exists()


def test_entry_point_of_another_instance_is_not_shared(lab: Lab, files: ProxyDriver) -> None:
    files.ensure(leading_to(1, "first-5992", "another"))
    with pytest.raises(PhaseError, match="entry point udp-30990 leads to first-5992 already"):
        files.ensure(leading_to(2))
    assert not path_of(lab).exists()


def test_entry_point_is_not_shared_with_a_file_of_which_a_part_is_broken(lab: Lab, files: ProxyDriver) -> None:
    files.ensure(leading_to(1, "first-5992", "another"))
    first = directory_of(lab) / "first-5992.yml"
    first.write_text(first.read_text().replace('"udp": {', '"tcp": null, "udp": {', 1))
    with pytest.raises(PhaseError, match="entry point udp-30990 leads to first-5992 already"):
        files.ensure(leading_to(2))


def test_file_that_somebody_broke_is_written_anew(lab: Lab, files: ProxyDriver) -> None:
    path_of(lab).write_text(f"# Managed by Hostwright. instance={SERVER}\nudp: [")
    assert lab.inventory()["traefikErrors"] != []
    assert files.backends() == []
    assert files.ensure(leading_to(1))
    assert lab.inventory()["traefikErrors"] == []


BROKEN = (
    {"tcp": None, "udp": None},
    {"udp": {"routers": {"x": None}, "services": {"x": None}}},
    {"udp": {"routers": {"x": {"entryPoints": None}}, "services": {"x": {"loadBalancer": {"servers": None}}}}},
    {"udp": {"routers": [1], "services": {"x": {"loadBalancer": {"servers": [None, {"address": "host"}]}}}}},
)


@pytest.mark.parametrize("content", BROKEN, ids=json.dumps)
def test_file_that_somebody_broke_holds_up_no_other(lab: Lab, files: ProxyDriver, content: dict[str, Any]) -> None:
    broken = directory_of(lab) / "broken-5993.yml"
    broken.write_text(f"# Managed by Hostwright. instance=another\n{json.dumps(content)}\n")
    assert files.ensure(leading_to(1))
    assert files.routes(leading_to(1), files.backends())
    assert remove(files, leading_to(1))
    broken.unlink()


@contextmanager
def watched(directory: Path) -> Iterator[list[tuple[int, str]]]:
    """Every change of a file in the directory, as the kernel tells those who watch it: what happened, and its name."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    assert libc.inotify_add_watch(descriptor, os.fsencode(directory), MODIFIED | MOVED_HERE | CREATED) > 0
    seen: list[tuple[int, str]] = []
    with os.fdopen(descriptor, "rb", buffering=0) as events:
        yield seen
        data = events.read(65536) or b""
    while data:
        _, mask, _, size = struct.unpack_from("iIII", data)
        seen.append((mask, data[16 : 16 + size].rstrip(b"\0").decode()))
        data = data[16 + size :]


def test_watcher_is_never_told_of_half_a_file(lab: Lab, files: ProxyDriver) -> None:
    with watched(directory_of(lab)) as seen:
        for port in (1, 2):
            files.ensure(leading_to(port))
    assert [what for what, name in seen if name.endswith(".yml")] == [CREATED, MOVED_HERE]
    assert {name for _, name in seen if name.endswith(".yml")} == {f"{NAME}.yml"}


@pytest.mark.parametrize(
    ("name", "server_id", "words"),
    [
        ("../5990", SERVER, "is not one lower-case DNS label"),
        ("contract-5990.lab", SERVER, "is not one lower-case DNS label"),
        ("{{env}}", SERVER, "is not one lower-case DNS label"),
        (NAME, "two words", "cannot stand in a mark"),
        (NAME, "two\nlines", "cannot stand in a mark"),
    ],
    ids=["path", "suffix", "Traefik's template", "mark", "lines"],
)
def test_names_that_no_file_can_have_are_refused(
    lab: Lab, files: ProxyDriver, name: str, server_id: str, words: str
) -> None:
    with pytest.raises(PhaseError, match=words):
        files.ensure(leading_to(1, name, server_id))
    assert list(directory_of(lab).iterdir()) == []


def test_directory_that_is_not_there_says_so(tmp_path: Path) -> None:
    proxy = parse_proxy({"driver": "traefik", "host": "edge-1", "directory": str(tmp_path / "none")})
    driver = open_proxy(proxy, Secrets(None), run=here(False), timeout=1)
    with pytest.raises(PhaseError, match="is Traefik set up there") as caught:
        driver.backends()
    assert caught.value.code == "velocity-failed"
    with pytest.raises(PhaseError, match="is Traefik set up there"):
        remove(driver, leading_to(1))
