"""What a scenario works with: a running site, the threads that watch it, and every server ordered on it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.chaos import check, picture
from tests.chaos.check import Claim, Picture
from tests.chaos.customer import GAME, BrokenError, Customer, Server
from tests.chaos.marks import Marks
from tests.chaos.phases import Phases
from tests.chaos.site import FOREIGN, LEASE, REQUEUE, SWEEP, Site

ORDERS_OF_PATIENCE = 4
"""How many times as long as an undisturbed order a resumed one may take; other sites use the machine too."""
SHORTEST_PATIENCE = 40.0
ROUNDS = 20


class Stage:
    """One site and its servers. Scenarios may run in several threads at once."""

    def __init__(self, site: Site, marks: Marks, phases: Phases) -> None:
        """Take the picture of the site before anything was ordered."""
        self.site = site
        self.marks = marks
        self.phases = phases
        self.servers: list[Server] = []
        self.spare: list[Server] = []
        """Servers that are ready and that no scenario needs any more. Teardowns are tried on them."""
        self.order_seconds = 10.0
        self.before: Picture = picture.take(site.lab, FOREIGN)
        self._taking = threading.Lock()

    @property
    def patience(self) -> float:
        """Seconds from the end of a disturbance to the end of every operation: lease, sweep, and the work itself."""
        return LEASE + SWEEP + REQUEUE + max(SHORTEST_PATIENCE, ORDERS_OF_PATIENCE * self.order_seconds)

    def calibrate(self) -> None:
        """Measure how long an undisturbed order takes; the patience with the others follows from it."""
        server = self.order()
        began = time.monotonic()
        self.finish(server, "succeeded", seconds=180)
        self.order_seconds = time.monotonic() - began
        self.delete(server)

    def order(self, customer: Customer | None = None, body: Any = GAME) -> Server:
        """Order a server, for a new customer if none is given."""
        server = (customer or self.site.customer()).order(body)
        self.servers.append(server)
        return server

    def ready(self) -> Server:
        """A server that is ready: a spare one, or else a new one."""
        with self._taking:
            if self.spare:
                return self.spare.pop()
        server = self.order()
        self.finish(server, "succeeded")
        return server

    def finish(self, server: Server, *statuses: str, seconds: float | None = None) -> dict[str, Any]:
        """Wait until the last operation is final. Raises BrokenError when it has another status, or takes too long."""
        operation = server.customer.finish(server, self.patience if seconds is None else seconds)
        if statuses and operation["status"] not in statuses:
            error = self.site.operator().show(operation["operationId"])["error"]
            raise BrokenError(
                f"{operation['kind']} {operation['operationId']} ended {operation['status']}, "
                f"not {' or '.join(statuses)}: {error}"
            )
        return operation

    def delete(self, server: Server, *, seconds: float | None = None) -> None:
        """Tear a server down within this time. A teardown that fails is asked for again."""
        for _ in range(3):
            server.customer.delete(server)
            if self.finish(server, seconds=seconds)["status"] == "succeeded":
                return
        raise BrokenError(f"server {server.server_id} cannot be deleted: {server.last['error']}")

    # judging

    def require_consistent(self, server: Server) -> None:
        """Check that a server is as its customer was told, wholly there or wholly gone, and that no two runs ever met.

        Raises BrokenError."""
        claim, told = claim_of(server), _find_provision(server)
        problems = self._find_lasting(
            lambda: check.check_server(
                picture.take(self.site.lab), claim, server.server_id, told.get("vmid"), told.get("hostname")
            )
        )
        problems += [
            f"two runs of operation {operation} were alive at once"
            for operation in server.told
            if self.marks.two_alive(operation)
        ]
        problems += self._find_changed_endings([server])
        if problems:
            raise BrokenError("; ".join(problems))

    def require_consistent_in_the_end(self, server: Server) -> None:
        """The same after some time, because what a cleanup could not undo is undone later in the background."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return self.require_consistent(server)
            except BrokenError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def find_violations(self) -> list[str]:
        """Check the whole site. Every operation must be final, and nobody may be ordering."""
        claims = [claim for server in self.servers if (claim := claim_of(server)) is not None]
        operations = frozenset(operation for server in self.servers for operation in server.told)
        problems = self._find_lasting(
            lambda: check.find_violations(self.before, picture.take(self.site.lab, FOREIGN, operations), claims)
        )
        problems += [f"two runs of operation {one.operation} were alive at once" for one in self._two_alive(operations)]
        return problems + self._find_changed_endings(self.servers) + self.site.surprises

    def finish_all(self) -> list[str]:
        """Wait for what a broken scenario has left under way; returns what does not end."""
        problems = []
        for server in self.servers:
            if server.operation_id not in server.told:
                try:
                    self.finish(server)
                except BrokenError as error:
                    problems.append(str(error))
        return problems

    def clear_away(self) -> list[str]:
        """Delete every server, all at once. Returns what is left then."""
        here = [server for server in self.servers if server.is_there or (server.leaving and not server.deleted)]
        problems: list[str] = []
        # They wait for each other: so many are deleted at once, each as long as an order at the most.
        patience = self.patience + self.order_seconds * len(here) / self.site.plan.concurrency
        threads = [threading.Thread(target=self._clear, args=(server, patience, problems)) for server in here]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return problems + self.find_violations()

    def _clear(self, server: Server, patience: float, problems: list[str]) -> None:
        try:
            self.delete(server, seconds=patience)
        except BrokenError as error:
            problems.append(str(error))

    def _two_alive(self, operations: frozenset[str]) -> list[Any]:
        return [one for one in self.marks.two_alive() if one.operation in operations]

    def _find_lasting(self, look: Callable[[], list[str]]) -> list[str]:
        """The problems that stay. A guest's last process, for one, may end a moment after its container."""
        problems = look()
        for _ in range(ROUNDS):
            if not problems:
                break
            time.sleep(0.1)
            problems = look()
        return problems

    def _find_changed_endings(self, servers: list[Server]) -> list[str]:
        """Check that every operation that was final is as it was then."""
        problems = []
        for server in servers:
            for operation_id, told in server.told.items():
                now = server.customer.show(operation_id)
                if (now["status"], now["finishedAt"]) != (told["status"], told["finishedAt"]):
                    problems.append(f"operation {operation_id} was {told['status']} and is {now['status']} now")
        return problems


def claim_of(server: Server) -> Claim | None:
    """The server as its customer was told that it has it."""
    if not server.is_there:
        return None
    told = _find_provision(server)
    return Claim(server.server_id, told["vmid"], told["hostname"], told.get("variant"))


def _find_provision(server: Server) -> dict[str, Any]:
    """The final answer about the provision, which names VMID and host name."""
    return next((one for one in server.told.values() if one["kind"] == "provision"), {})


@contextmanager
def run_stage(site: Site, marks: Marks) -> Iterator[Stage]:
    """Run a site with its watchers, and measure one order."""
    with ExitStack() as stack:
        stack.enter_context(site)
        phases = stack.enter_context(Phases(site.postgres.server.url))
        stage = Stage(site, marks, phases)
        stage.calibrate()
        yield stage
