"""A throwaway container is deleted by its name, so the name must lead to no other directory."""

import argparse

import pytest

from orchestrator.lab.guests.throwaway import parse_host_name


# Only the function is tried: with the command, a guard that is broken on purpose would delete what these names lead to.
@pytest.mark.parametrize("name", ["../../etc", "..", ".", "", "a/b", "/etc", "-a", "a b", "a\nb", "a\n", "x" * 64])
def test_name_that_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no host name"):
        parse_host_name(name)


def test_host_name_is_taken() -> None:
    assert parse_host_name("scratch-1") == "scratch-1"
