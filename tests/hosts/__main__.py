"""`make hosts` runs workers and their database on machines of their own, and cuts the network between them."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from fnmatch import fnmatch

from tests.chaos import campaign, report
from tests.chaos.campaign import Result
from tests.chaos.customer import BrokenError
from tests.chaos.marks import Marks
from tests.hosts.network import become_router
from tests.hosts.scenarios import GROUPS
from tests.hosts.site import make_site

_COMMANDS = {
    "ip": "iproute2",
    "ss": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
"""Command → its Debian package."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 when every promise was kept, 1 when one was not, 2 when it cannot run here."""
    parsed = _make_parser().parse_args(arguments)
    if missing := _name_missing():
        print(f"make hosts needs {missing}", file=sys.stderr)
        return 2
    patterns = [one.strip() for one in (parsed.only or "*").split(",")]
    groups = campaign.select_groups(GROUPS, lambda name: any(fnmatch(name, pattern) for pattern in patterns))
    if not groups:
        print(f"no scenario fits {parsed.only}: {', '.join(row.name for group in GROUPS for row in group.scenarios)}")
        return 2
    results: list[Result] = []

    def tell(result: Result) -> None:
        results.append(result)
        print(report.format_line(result), flush=True)

    try:
        become_router()
    except (OSError, BrokenError) as error:
        print(f"make hosts needs the right to make and set up a network namespace ({error})", file=sys.stderr)
        return 2
    with Marks() as marks:
        for group in groups:
            campaign.run_group(group, marks, tell, make_site)
    print(report.summarise(results, sum(result.seconds for result in results)))
    return 0 if all(result.kept for result in results) else 1


def _name_missing() -> str | None:
    """What is missing on this machine, and what to do about it; None when nothing is."""
    if os.geteuid() != 0:
        return "root, to make network namespaces: run it with sudo"
    absent = [command for command in _COMMANDS if shutil.which(command) is None]
    if absent:
        packages = " ".join(sorted({_COMMANDS[command] for command in absent}))
        return f"the command {absent[0]}: apt-get install {packages}"
    return None


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hosts",
        description="Runs PostgreSQL and each worker on a machine of its own (a network namespace), beside the lab, "
        "and cuts the network between them. Then it checks outside whether anything was lost, leaked or done twice. "
        "Exits with 1 if so.",
    )
    parser.add_argument("--only", metavar="PATTERNS", help="only scenarios whose name fits one, such as 'unplugged-*'")
    return parser


if __name__ == "__main__":
    sys.exit(main())
