"""The record of what was published, which outlives the release that wrote it."""

from typing import Any

import pytest

from orchestrator.domain.publications import Publication

ENTRY = {"driver": "mc-router", "place": "proxy", "type": "route", "name": "a.example", "value": "10.0.0.1:25565"}


def test_is_read_as_it_was_written() -> None:
    assert Publication.from_dict(ENTRY).as_dict() == ENTRY


def test_ignores_what_a_newer_release_says_of_it() -> None:
    assert Publication.from_dict(ENTRY | {"since": "today"}) == Publication.from_dict(ENTRY)


@pytest.mark.parametrize("change", [{"value": None}, {"name": 5}, {"place": ["proxy"]}], ids=["none", "number", "list"])
def test_refuses_what_is_no_publication(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no publication"):
        Publication.from_dict(ENTRY | change)


def test_has_an_order() -> None:
    one, other = Publication.from_dict(ENTRY), Publication.from_dict(ENTRY | {"driver": "cloudflare"})
    assert sorted([one, other, one]) == [other, one, one]
