"""The lab's Traefik: which files it accepts, and what it passes on."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.lab.edge.traefik_files import ConfigurationError, Route, read_files
from tests.support.edge_kinds import PUBLIC_PORT, Traefik, directory_of, echo_backend
from tests.support.fix_lab import Lab
from tests.support.fix_lab_proxmox import wait_until

GOOD: dict[str, Any] = {
    "tcp": {
        "routers": {"a": {"entryPoints": ["tcp-30001"], "rule": "HostSNI(`*`)", "service": "s"}},
        "services": {"s": {"loadBalancer": {"servers": [{"address": "10.0.0.1:7777"}]}}},
    }
}


@pytest.fixture
def directory(lab: Lab) -> Iterator[Path]:
    """The directory of the lab's Traefik, which is emptied afterwards."""
    yield directory_of(lab)
    for path in directory_of(lab).iterdir():
        path.unlink()
    assert lab.inventory()["traefikErrors"] == []


def write(directory: Path, name: str, content: object) -> None:
    (directory / name).write_text(content if isinstance(content, str) else yaml.safe_dump(content))


def test_reads_yaml_files_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", GOOD)
    write(tmp_path, "b.YAML", "")
    write(tmp_path, ".a.making", "{")
    write(tmp_path, "a.yml.bak", "{")
    assert dict(read_files(tmp_path)) == {"tcp-30001": Route("tcp", "a", "tcp-30001", "10.0.0.1", 7777)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("tcp: [", "a.yml: "),
        ({"tpc": {}}, "the file: field not found: tpc"),
        ({"managed": "by"}, "the file: field not found: managed"),
        ({"tcp": {"services": ["s"]}}, "tcp.services: is no mapping"),
        ({"tcp": GOOD["tcp"] | {"routers": None}}, "tcp.routers: is no mapping"),
        (
            {"tcp": GOOD["tcp"] | {"routers": {"a": GOOD["tcp"]["routers"]["a"] | {"entryPoints": None}}}},
            "tcp.routers.a.entryPoints: is no list",
        ),
        ({"udp": {"routers": {"a": {"rule": "HostSNI(`*`)"}}}}, "udp.routers.a: field not found: rule"),
        ({"tcp": {"routers": {"a": {"rule": "HostSNI(`x`)"}}}}, "tcp.routers.a.rule: without TLS"),
        ({"tcp": {"services": {"s": {"loadBalancer": {"servers": []}}}}}, "is no list of servers"),
        ({"tcp": {"services": {"s": {"loadBalancer": {"servers": [{"address": "x"}]}}}}}, "must be HOST:PORT"),
    ],
    ids=[
        "no YAML",
        "typo",
        "unknown member",
        "list of services",
        "no routers",
        "no entry points",
        "rule of UDP",
        "host without TLS",
        "no server",
        "no port",
    ],
)
def test_names_what_is_wrong_with_a_file(tmp_path: Path, content: object, words: str) -> None:
    write(tmp_path, "a.yml", content)
    with pytest.raises(ConfigurationError, match=words.replace(".", r"\.")):
        read_files(tmp_path)


@pytest.mark.parametrize(
    "router",
    [
        {"entryPoints": ["tcp-30001"], "rule": "HostSNI(`*`)", "service": "none"},
        {"entryPoints": ["web", "udp-30001", "tcp-99999"], "rule": "HostSNI(`*`)", "service": "s"},
    ],
    ids=["service", "entry point"],
)
def test_leaves_out_a_router_that_leads_nowhere(tmp_path: Path, router: object) -> None:
    write(tmp_path, "a.yml", {"tcp": GOOD["tcp"] | {"routers": {"a": router}}})
    assert read_files(tmp_path) == {}


def test_gives_an_entry_point_to_its_first_router(tmp_path: Path) -> None:
    write(tmp_path, "b.yml", {"tcp": GOOD["tcp"] | {"routers": {"b": GOOD["tcp"]["routers"]["a"]}}})
    write(tmp_path, "a.yml", GOOD)
    assert read_files(tmp_path)["tcp-30001"].name == "a"


def test_keeps_what_it_had_while_a_file_is_wrong_and_says_so(lab: Lab, directory: Path) -> None:
    write(directory, "a.yml", GOOD)
    assert [one["name"] for one in lab.inventory()["entryPoints"]] == ["a"]
    write(directory, "wrong.yml", "tcp: [")
    (directory / "a.yml").unlink()
    after = lab.inventory()
    assert [one["name"] for one in after["entryPoints"]] == ["a"]
    assert after["traefikErrors"][0]["message"].startswith("wrong.yml: ")
    (directory / "wrong.yml").unlink()
    assert lab.inventory()["entryPoints"] == []


def test_entry_point_whose_port_is_taken_says_so_until_it_is_free(lab: Lab, directory: Path) -> None:
    edge = lab.site["dns"][0]["address"], 30002
    with socket.create_server(edge):
        write(directory, "a.yml", {"tcp": GOOD["tcp"] | {"routers": {"a": GOOD["tcp"]["routers"]["a"] | {
            "entryPoints": ["tcp-30002"]}}}})  # fmt: skip
        taken = f"cannot listen on {edge[0]}:{edge[1]}"
        assert taken in lab.inventory()["traefikErrors"][0]["message"]
        write(directory, "b.yml", {})
        assert taken in lab.inventory()["traefikErrors"][0]["message"]
    wait_until(lambda: is_open(edge))
    assert lab.inventory()["traefikErrors"] == []


def is_open(address: tuple[str, int]) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_looks_on_after_the_directory_could_not_be_read(lab: Lab, directory: Path) -> None:
    away = directory.rename(directory.with_name("away"))
    directory.write_text("a file in its place")
    wait_until(lambda: "Not a directory" in str(lab.inventory()["traefikErrors"]))
    directory.unlink()
    away.rename(directory)
    write(directory, "a.yml", {"tcp": GOOD["tcp"] | {"routers": {"a": GOOD["tcp"]["routers"]["a"] | {
        "entryPoints": ["tcp-30003"]}}}})  # fmt: skip
    wait_until(lambda: is_open((lab.site["dns"][0]["address"], 30003)))
    assert lab.inventory()["traefikErrors"] == []


def test_passes_a_conversation_over_udp_on_and_keeps_clients_apart(lab: Lab, directory: Path) -> None:
    with echo_backend("udp") as port:
        service = {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{port}"}]}}
        router = {"entryPoints": [f"udp-{PUBLIC_PORT}"], "service": "s"}
        write(directory, "a.yml", {"udp": {"routers": {"a": router}, "services": {"s": service}}})
        assert len(lab.inventory()["entryPoints"]) == 1
        edge = lab.site["dns"][0]["address"], PUBLIC_PORT
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
        ):
            for player in (one, two):
                player.settimeout(5)
                player.connect(edge)
            one.send(b"1a")
            two.send(b"2a")
            assert (one.recv(99), two.recv(99)) == (f"{port} 1a".encode(), f"{port} 2a".encode())
            one.send(b"1b")
            assert one.recv(99) == f"{port} 1b".encode()
    assert Traefik("udp").player_reaches(lab) is None
