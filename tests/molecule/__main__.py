"""`make molecule` tries every role in a container or lab of its own, or breaks every role on purpose."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests.lxc import images, setup
from tests.molecule import breakages
from tests.molecule.breakages import BREAKAGES, Breakage
from tests.molecule.scenarios import SCENARIOS, Result, is_in_container, run

AT_ONCE = 2
One = TypeVar("One")
PODMAN = {"podman": "podman", "runc": "runc"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 when every scenario passed, or failed as it should; 2 when none could be run."""
    parsed = _make_parser().parse_args(arguments)
    unknown = sorted(set(parsed.roles) - set(SCENARIOS))
    if unknown:
        print(f"molecule: no scenario {', '.join(unknown)}: there are {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    chosen = [name for name in SCENARIOS if not parsed.roles or name in parsed.roles]
    try:
        install(chosen, parsed.driver)
    except LabError as error:
        print(f"molecule: {error}", file=sys.stderr)
        return 2
    try:
        return _run(chosen, parsed.driver, broken=parsed.broken)
    except KeyboardInterrupt:
        print("molecule: interrupted; what had begun was cleaned up", file=sys.stderr)
        return 130


def _run(chosen: Sequence[str], driver: str, *, broken: bool) -> int:
    if broken:
        return _do_each([one for one in BREAKAGES if one.scenario in chosen], lambda one: _run_broken(one, driver))
    return _do_each(chosen, lambda name: _run_whole(name, driver))


def install(scenarios: Sequence[str], driver: str) -> None:
    """Install what the containers of these scenarios need. Raises LabError when that is not possible."""
    contained = [name for name in scenarios if is_in_container(name)]
    if not contained:
        return
    if os.geteuid() != 0:
        raise LabError(
            f"containers need root ({', '.join(contained)}): run it as root, or name other scenarios, "
            f"as in `make molecule ROLE=clone_container`"
        )
    programs = setup.PROGRAMS | (PODMAN if driver == "podman" else {})
    print(f"packages: {setup.install_packages(programs)}; plain Debian: {images.build_base()}", flush=True)


def _do_each(ones: Sequence[One], work: Callable[[One], tuple[bool, str]]) -> int:
    """Do all of them, some at the same time, and print a line for each as it ends."""
    began = time.monotonic()

    def do(one: One) -> bool:
        good, line = work(one)
        print(line, flush=True)
        return good

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        good = list(pool.map(do, ones))
    finally:
        pool.shutdown(cancel_futures=True)
    print(f"{sum(good)} of {len(good)} as they should be, in {time.monotonic() - began:.0f} s")
    return 0 if all(good) else 1


def _run_whole(scenario: str, driver: str) -> tuple[bool, str]:
    result = run(scenario, driver)
    if result.passed:
        return True, f"passed  {_describe_time(result)}"
    return False, f"{result.output}\nFAILED  {_describe_time(result)} {_describe_place(result)}"


def _run_broken(one: Breakage, driver: str) -> tuple[bool, str]:
    with breakages.apply_to_copy(one) as roles:
        result = run(one.scenario, driver, roles)
    seen = _describe_place(result)
    if (result.step, result.task) == (one.step, one.task):
        return True, f"failed as it should  {_describe_time(result)} {seen}: {one.does}"
    told = "it passes" if result.passed else f"it fails in {seen}"
    return False, f"{result.output}\nWRONG  {_describe_time(result)} {one.does}: {told}, not in {one.step}: {one.task}"


def _describe_time(result: Result) -> str:
    return f"{result.scenario:30} {result.seconds:4.0f} s"


def _describe_place(result: Result) -> str:
    return f"{result.step}: {result.task}" if result.step else "molecule itself"


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.molecule",
        description="Runs molecule's scenarios, two at once, a line for each. Exits with 1 if one fails.",
    )
    parser.add_argument("roles", nargs="*", metavar="ROLE", help=f"only these, of {', '.join(SCENARIOS)}")
    parser.add_argument("--driver", choices=["lxc", "podman"], default="lxc", help="what runs the containers")
    parser.add_argument("--broken", action="store_true", help="break each role once, and check that its scenario fails")
    return parser


if __name__ == "__main__":
    sys.exit(main())
