"""The catalogue: what it must say for a game to be reached, and at which port that is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.domain.errors import ConfigurationError
from orchestrator.play.inventory import load_catalogue
from orchestrator.settings import Settings

LAB = Settings().catalogue_path


def write(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The lab's catalogue with a change."""
    content = yaml.safe_load(LAB.read_text())
    change(content["hostwright_catalogue"])
    path = tmp_path / "catalogue.yml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("game", "vmid", "port"),
    [
        ("minecraft", 5012, 25565),
        ("xonotic", 5012, 30012),
        ("terraria", 5999, 30999),
        ("xonotic", None, None),
        (None, 6000, None),
        ("no longer offered", 5012, None),
    ],
)
def test_public_port_is_the_games_or_that_of_the_servers_own_entry_point(
    game: str | None, vmid: int | None, port: int | None
) -> None:
    assert load_catalogue(LAB).public_port(game, vmid) == port


def test_game_without_edge_and_probe_is_reached_as_minecraft_is(tmp_path: Path) -> None:
    def forget(catalogue: dict[str, Any]) -> None:
        catalogue["games"] = {"minecraft": catalogue["games"]["minecraft"]}
        del catalogue["games"]["minecraft"]["edge"], catalogue["games"]["minecraft"]["probe"]
        del catalogue["entry_points"]

    assert load_catalogue(write(tmp_path, forget)).public_port("minecraft", 5012) == 25565


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (lambda one: one["games"]["xonotic"].update(edge="router"), "games.xonotic", "needs an entry-point"),
        (lambda one: one["games"]["xonotic"].update(probe={}), "games.xonotic", "needs bytes to send"),
        (lambda one: one["games"]["xonotic"].update(probe="minecraft"), "games.xonotic", "send and expect"),
        (lambda one: one["games"]["terraria"].update(probe={"send": "xy"}), "games.terraria", "hexadecimal"),
        (lambda one: one["games"]["terraria"].update(edge="bridge"), "games.terraria.edge", "'entry-point'"),
        (lambda one: one.pop("entry_points"), "", "entry_points.base is needed"),
        (lambda one: one["entry_points"].update(base=60000), "", "the VMIDs the ports 65000 to 65999"),
    ],
    ids=["router", "nothing to ask", "minecraft over UDP", "no hex", "edge", "no ports", "ports too high"],
)
def test_game_that_cannot_be_reached_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], place: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_catalogue(write(tmp_path, change))
    assert f"catalogue.yml: {place}" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("variant", ["paper_beta", "Purpur", "dotted.name", "x" * 60, "-paper", "pa per", "é"])
def test_case_d6_names_a_variant_that_makes_no_host_name(tmp_path: Path, variant: str) -> None:
    def add(catalogue: dict[str, Any]) -> None:
        variants = catalogue["games"]["minecraft"]["variants"]
        variants[variant] = variants["paper"]
        catalogue["games"]["minecraft"]["hostname"] = "{variant}-{vmid}"

    with pytest.raises(ConfigurationError) as refused:
        load_catalogue(write(tmp_path, add))
    assert f"the variant {variant!r} of minecraft gives servers the host name" in str(refused.value)


@pytest.mark.parametrize(
    ("hostname", "said"),
    [
        ("dev_{vmid}", r"dev.hostname gives servers the host name 'dev_6\d+'"),
        ("dev-{id}", r"may hold \{vmid\} and no other"),
        ("dev-{vmid", r"may hold \{vmid\} and no other"),
        ("dev", r"must hold \{vmid\}"),
    ],
)
def test_case_d6_names_a_host_name_of_dev_containers_that_is_none(tmp_path: Path, hostname: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_catalogue(write(tmp_path, lambda one: one["dev"].update(hostname=hostname)))
