"""`make chaos` breaks everything on purpose, and checks that every promise is kept."""

import argparse
import fnmatch
import random
import sys
import time
from collections.abc import Sequence

from tests.chaos import campaign, longrun, report
from tests.chaos.campaign import Result
from tests.chaos.scenarios import GROUPS, Group


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 when every promise was kept."""
    parsed = _make_parser().parse_args(arguments)
    groups = campaign.select_groups(GROUPS, lambda name: _fits(name, parsed.only))
    if parsed.list:
        for group in groups:
            for row in group.scenarios:
                print(f"{row.name:44} {row.does}: {row.expects}")
        return 0
    if parsed.minutes:
        return _long_run(parsed.minutes, parsed.seed)
    if not groups:
        print(f"no scenario fits {parsed.only}: --list names all of them", file=sys.stderr)
        return 2
    return _run_table(groups, parsed.lanes, whole=parsed.only is None)


def _fits(name: str, patterns: str | None) -> bool:
    return patterns is None or any(fnmatch.fnmatch(name, one.strip()) for one in patterns.split(","))


def _run_table(groups: list[Group], lanes: int, *, whole: bool) -> int:
    total = sum(len(group.scenarios) + 1 for group in groups)
    began, done = time.monotonic(), 0
    report.describe_circumstances()

    def tell(result: Result) -> None:
        nonlocal done
        done += 1
        elapsed = int(time.monotonic() - began)
        print(f"[{done:3}/{total} {elapsed // 60:2}:{elapsed % 60:02}] {report.format_line(result)}", flush=True)

    results = campaign.run_groups(groups, lanes=lanes, tell=tell)
    seconds = time.monotonic() - began
    print(f"\n{report.format_page(results, seconds)}")
    if whole:
        print(f"written to {report.write_table(results, seconds)}")
    print(report.summarise(results, seconds))
    return 0 if all(result.kept for result in results) else 1


def _long_run(minutes: float, seed: int | None) -> int:
    chosen_seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    print(
        f"seed {chosen_seed}: `make chaos MINUTES={minutes:g} SEED={chosen_seed}` makes the same choices",
        flush=True,
    )
    problems = longrun.run(minutes, chosen_seed, say=lambda line: print(line, flush=True))
    for problem in problems:
        print(f"BROKEN {problem}")
    print(f"{len(problems)} broken" if problems else "every promise was kept")
    return 1 if problems else 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Kills and freezes every part of a whole site on the lab, at every phase, and makes the world "
        "around it fail. Then it checks outside whether anything was lost, leaked or made twice. Exits with 1 if so.",
    )
    parser.add_argument(
        "--only", metavar="PATTERNS", help="only scenarios or groups whose name fits one, such as 'kill-*,cancel'"
    )
    parser.add_argument("--lanes", type=int, default=4, help="how many sites run at the same time (default 4)")
    parser.add_argument("--list", action="store_true", help="name the scenarios and run none")
    parser.add_argument(
        "--minutes", type=float, help="run random orders and random kills for so long, instead of the table"
    )
    parser.add_argument(
        "--seed", type=int, help="the seed of such a run's choices; without it one is chosen and printed"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
