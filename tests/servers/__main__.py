"""`make servers`: all tests on a PostgreSQL server of Debian's, and DNS on name servers of Debian's.

Arguments are pytest's; without any, everything is run.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.servers.postgres import private_postgres
from tests.servers.programs import missing_packages

ROOT = Path(__file__).parents[2]


def main(arguments: list[str]) -> int:
    """Run pytest on a server of its own; returns pytest's exit code."""
    missing = missing_packages()
    if missing:
        print(f"packages of Debian are missing: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    with private_postgres() as url:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-n", "3", "--dist", "worksteal", *(arguments or everything())],
            env=os.environ | {"HOSTWRIGHT_TEST_DATABASE_URL": url},
            cwd=ROOT,
            check=False,
        ).returncode


def everything() -> list[str]:
    """What `make test` runs, and the tests here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    paths: list[str] = project["tool"]["pytest"]["ini_options"]["testpaths"]
    return [*paths, str(Path(__file__).parent.relative_to(ROOT))]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
