"""Throwaway containers, to try a role in: `python -m orchestrator.lab.guests.throwaway up NAME`, and `down NAME`."""

import argparse
import re
import sys
from collections.abc import Sequence

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests.lxc import isolated
from orchestrator.lab.guests.lxc.container import Container, require_lxc
from orchestrator.lab.guests.lxc.images import base_path, require_image
from orchestrator.lab.guests.lxc.isolated import isolated_container

DESCRIPTION = (
    "Starts and removes containers to try a role in. Each is an overlay over the plain Debian of `make lab-setup`, "
    "with systemd running and no network to the world."
)
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A host name: as a directory's name it leads to no other place."""


def start_throwaway(name: str) -> Container:
    """Start a container of the plain Debian.

    Raises LabError when it cannot run, or when there is one of that name."""
    require_lxc()
    directory = isolated_container(name).directory
    if directory.exists():
        raise LabError(
            f"there is a container {name} already: `python -m orchestrator.lab.guests.throwaway down {name}`"
        )
    upper = directory / "upper"
    container = isolated_container(name, f"overlay:{require_image(base_path())}:{upper}")
    upper.mkdir(parents=True)
    try:
        isolated.start(container, upper)
    except BaseException:
        isolated.remove(container)
        raise
    return container


def parse_host_name(text: str) -> str:
    """The text as a container's name. Raises ArgumentTypeError for one that could name another place."""
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no host name: use a-z, 0-9 and -")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 with one sentence when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.lab.guests.throwaway", description=DESCRIPTION)
    parser.add_argument("action", choices=["up", "down"], help="start the container, or remove it")
    parser.add_argument("name", type=parse_host_name, help="the container's name, which is its host name too")
    given = parser.parse_args(arguments)
    try:
        if given.action == "up":
            container = start_throwaway(given.name)
            print(f"a shell in it: lxc-attach -P {container.lxc_path} -n {container.name}")
            print(f"for ansible:   -i {isolated.write_inventory(container)}")
        else:
            require_lxc()
            isolated.remove(isolated_container(given.name))
    except LabError as error:
        print(f"throwaway: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
