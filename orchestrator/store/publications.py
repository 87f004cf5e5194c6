"""The records of what earlier releases published, which are filled once after an upgrade.

What this release publishes is recorded by its run, under the lease (orchestrator.store.leases).
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from orchestrator.domain.models import Row
from orchestrator.domain.publications import Publication
from orchestrator.store.connection import Database
from orchestrator.store.queries import execute, read_rows


class UnrecordedInstance(Row):
    """An instance of which an earlier release published something."""

    id: UUID
    vmid: int | None
    hostname: str | None
    address: IPv4Address | IPv6Address | None
    spec: dict[str, Any]


def list_unrecorded(database: Database) -> list[UnrecordedInstance]:
    """Every instance whose publications are not recorded."""
    return [UnrecordedInstance.model_validate(row) for row in read_rows(database, "list_unrecorded")]


def record_earlier(database: Database, instance_id: UUID, publications: Iterable[Publication]) -> bool:
    """Record what is known of an instance. From here on its record is whole.

    Returns False and writes nothing when another worker has recorded it meanwhile, or when it is gone.
    """
    with database.transaction() as connection:
        if execute(connection, "mark_recorded", instance_id=instance_id) == 0:
            return False
        for publication in publications:
            execute(connection, "record_earlier", **publication.as_dict(), instance_id=instance_id)
        return True
