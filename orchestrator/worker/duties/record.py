"""Records what earlier releases published, once after an upgrade, by the inventory and the catalogue of that day.

It never touches an instance whose record is whole, and asks nobody outside.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import Code
from orchestrator.domain.publications import Publication
from orchestrator.drivers.dns.factory import parse_providers
from orchestrator.drivers.edge.plan import plan
from orchestrator.drivers.proxy.base import Registration
from orchestrator.drivers.proxy.factory import parse_proxy
from orchestrator.drivers.result import PhaseError
from orchestrator.play.inventory import read_variables
from orchestrator.settings import Settings
from orchestrator.store.connection import Database
from orchestrator.store.publications import UnrecordedInstance, list_unrecorded, record_earlier
from orchestrator.worker.duties.duty import Duty

log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 60.0


def make(database: Database, settings: Settings, catalogue: Catalogue) -> Duty:
    """The duty."""

    def record() -> Iterator[str]:
        unrecorded = list_unrecorded(database)
        variables = read_variables(settings) if unrecorded else {}
        for instance in unrecorded:
            try:
                publications = plan_earlier(instance, catalogue, variables)
            except PhaseError as error:
                log.error("%s: what was published cannot be recorded: %s", instance.hostname, error)  # noqa: TRY400
                continue
            if record_earlier(database, instance.id, publications):
                yield f"{instance.hostname}: {len(publications)} publications of an earlier release are recorded"

    return Duty("record", _INTERVAL_SECONDS, record)


def plan_earlier(instance: UnrecordedInstance, catalogue: Catalogue, variables: Mapping[str, Any]) -> list[Publication]:
    """What an earlier release has published of an instance, if inventory and catalogue still are as they were then.

    Raises PhaseError for a game that is gone, and for an inventory that names no provider or proxy as it should.
    """
    if instance.vmid is None or instance.hostname is None:
        return []
    name = str(instance.spec.get("game", "minecraft"))
    game = catalogue.games.get(name)
    if game is None:
        raise PhaseError(
            Code.INTERNAL, f"the game {name} is not in the catalogue: put it back until its servers are gone"
        )
    by_port = game.edge == "entry-point"
    proxy = variables.get("hostwright_entry_points" if by_port else "hostwright_proxy") or {}
    providers = parse_providers(variables.get("hostwright_dns") or [])
    wanted = Registration(
        name=instance.hostname,
        server_id=str(instance.id),
        address=str(instance.address or ""),
        port=game.port,
        zones=[provider.zone for provider in providers],
        protocol=game.protocol,
        public_port=catalogue.public_port(name, instance.vmid) or game.port,
    )
    return plan(providers, parse_proxy(proxy), wanted, game.service)
