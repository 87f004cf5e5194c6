"""What the API says can be ordered."""

import pytest

from orchestrator.play.inventory import load_catalogue
from orchestrator.settings import Settings
from tests.support.fix_api import Api, is_problem


def test_shows_what_can_be_ordered_and_within_which_limits(api: Api) -> None:
    told = api.customer().get("/api/catalog").json()
    offered = load_catalogue(Settings().catalogue_path)
    assert {game["game"] for game in told["games"]} == offered.games.keys()
    for game in told["games"]:
        known = offered.games[game["game"]]
        assert game["reachedBy"] == ("name" if known.edge == "router" else "port")
        versions = {each["variant"]: each["versions"] for each in game["variants"]}
        assert versions == {name: list(variant.versions) for name, variant in known.variants.items()}
    assert {each["runtime"]: each["versions"] for each in told["runtimes"]} == {
        name: runtime.versions for name, runtime in offered.dev.runtimes.items()
    }
    memory = offered.limits["game"].memory_mib
    assert told["limits"]["game"]["memoryMiB"] == {
        "minimum": memory.minimum, "default": memory.default, "maximum": memory.maximum,
    }  # fmt: skip


def test_tells_nothing_of_the_site(api: Api) -> None:
    text = api.customer().get("/api/catalog").text
    offered = load_catalogue(Settings().catalogue_path)
    artifacts = [variant.artifact for game in offered.games.values() for variant in game.variants.values()]
    assert [artifact for artifact in (*artifacts, *offered.java.values()) if artifact in text] == []


def test_offers_what_orders_take(api: Api) -> None:
    operator = api.caller(None)
    told = operator.get("/api/catalog").json()
    for game in told["games"]:
        for variant in game["variants"]:
            body = {"ctype": "game", "game": game["game"], "variant": variant["variant"]}
            customer = api.customer()
            answer = customer.post(body | {"version": variant["versions"][0]})
            assert answer.status_code == 202, answer.text
    least = told["limits"]["dev"]["memoryMiB"]["minimum"]
    order = {"ctype": "dev", "runtime": told["runtimes"][0]["runtime"], "version": told["runtimes"][0]["versions"][0]}
    assert api.customer().post(order | {"memoryMiB": least}).status_code == 202
    is_problem(api.customer().post(order | {"memoryMiB": least - 1}), 400, "invalid-request")


@pytest.mark.parametrize("token", [None, "hw_unknown"])
def test_is_for_those_with_a_token(api: Api, token: str | None) -> None:
    is_problem(api.stranger(token).get("/api/catalog"), 401, "unauthenticated")
