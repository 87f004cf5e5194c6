"""A site whose database and workers have a machine each. The API, the lab and the watchers are on the router."""

import psycopg

from tests.chaos.parts import Part, Postgres
from tests.chaos.phases import Place
from tests.chaos.site import Plan, Site
from tests.hosts.network import Machine
from tests.hosts.parts import RemotePart, RemotePostgres


class HostsSite(Site):
    """A site over several machines."""

    database_machine: Machine
    machines: list[Machine]
    """The machines of the workers, in the order of the workers."""

    def worker_named(self, name: str | None) -> Part | None:
        """The worker with this name, found by its machine, because its process has another id there."""
        host = (name or "").partition("-")[0]
        return next((part for part in self.workers if isinstance(part, RemotePart) and part.machine.name == host), None)

    def machine_of(self, place: Place) -> Machine:
        """The machine on which an operation is carried out."""
        return next(machine for machine in self.machines if machine.name == str(place.worker).partition("-")[0])

    def worker_of(self, operation: str) -> str:
        """The name of the worker that carries an operation out, or did so last."""
        with psycopg.connect(self.postgres.server.url) as connection:
            row = connection.execute("select worker from operation where id = %s", (operation,)).fetchone()
        return str(row[0]) if row else ""

    def make_worker(self, number: int) -> Part:
        """A worker on the machine with its number, which does not run yet."""
        part = super().make_worker(number)
        environment = part.environment | {"HOSTWRIGHT_DATABASE_URL": self._remote.remote_url}
        return RemotePart(part.name, part.arguments, environment, part.log, self.machines[number])

    def _start(self) -> None:
        self.database_machine = Machine("db", 0)
        self.machines = [Machine(f"w{number}", number) for number in range(1, self.plan.workers + 1)]
        self._remote = RemotePostgres(self.state_dir, self.database_machine)
        self.postgres = Postgres(self._remote)
        super()._start()

    def _stop(self) -> None:
        super()._stop()
        for machine in (*self.machines, self.database_machine):
            machine.stop()


def make_site(plan: Plan, name: str) -> Site:
    """Make a site over several machines."""
    return HostsSite(plan, name)
