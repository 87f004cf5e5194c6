"""A container for one use is deleted by its name: the name must lead nowhere else."""

import argparse

import pytest

from orchestrator.lab.guests.throwaway import host_name


# The function alone: with the command, a guard that is broken on purpose would delete what these name.
@pytest.mark.parametrize("name", ["../../etc", "..", ".", "", "a/b", "/etc", "-a", "a b", "a\nb", "a\n", "x" * 64])
def test_name_that_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no host name"):
        host_name(name)


def test_host_name_is_taken() -> None:
    assert host_name("scratch-1") == "scratch-1"
