"""What an earlier release published stands in no record: a worker works it out once, by its inventory and catalogue."""

import threading
import time
from uuid import uuid4

import pytest

from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.models import Lease, OperationRow
from orchestrator.domain.operations import PROVISION, TEARDOWN
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import OperationStatus, PhaseStatus
from orchestrator.domain.updates import PhaseEntered, PublicationsRecorded, PublicationsStruck
from orchestrator.drivers.result import PhaseError
from orchestrator.play.inventory import load_catalogue, read_variables
from orchestrator.settings import Settings
from orchestrator.store import endings, leases, requests
from orchestrator.store.connection import Database
from orchestrator.store.migrations import migrate
from orchestrator.store.publications import UnrecordedInstance, list_unrecorded, record_earlier
from orchestrator.worker import carry
from orchestrator.worker.attempt import Attempt
from orchestrator.worker.duties import record
from tests.support import storage
from tests.support.edge_kinds import McRouter
from tests.support.fix_database import CUSTOMER, fresh_database, load_schema
from tests.support.fix_lab import Lab


def settings_of(lab: Lab) -> Settings:
    return Settings(state_dir=lab.state_dir)


def publish_as_before(database: Database, game: str) -> tuple[Lease, UnrecordedInstance]:
    """A server of a game that is being published, as the release before this one has left it."""
    lease = storage.start(database)
    leases.record(database, lease, [PhaseEntered(Phase.PUBLISH_EDGE, "publishing")])
    row = storage.operation(database, lease.operation_id)
    spec = f'{{"game": "{game}"}}'
    storage.query(
        database,
        "update instance set publications_known = false, spec = spec || %s, address = '192.0.2.7' where id = %s",
        spec, row.instance_id,
    )  # fmt: skip
    (found,) = list_unrecorded(database)
    return lease, found


def recorded(database: Database) -> list[Publication]:
    rows = storage.query(database, "select driver, place, type, name, value from publication order by 1, 2, 3, 4, 5")
    return [Publication(*row) for row in rows]


def test_records_what_the_release_before_published_of_each_live_server(server_url: str, lab: Lab) -> None:
    with fresh_database(server_url, "earlier") as url:
        load_schema(url, 5)
        migrate(url)
        database = Database(url)
        database.open()
        try:
            duty = record.make(database, settings_of(lab), load_catalogue(settings_of(lab).catalogue_path))
            assert len(list(duty.perform())) == 7
            assert list_unrecorded(database) == []
            rows = storage.query(
                database,
                "select hostname, driver || ' ' || type from publication join instance on instance.id = instance_id",
            )
        finally:
            database.close()
    records = ["cloudflare A", "cloudflare SRV", "technitium A", "technitium SRV"]
    places = {host: sorted(place for name, place in rows if name == host) for host, _ in rows}
    # One that is stopped may have been left there; what is not there is struck out when it is taken back.
    kept = ("vanilla-5000", "paper-5002", "vanilla-5005", "vanilla-5006", "vanilla-5007")
    minecraft = {f"mc-{name}" for name in kept}
    assert {host for host, found in places.items() if found == [*records, "zpack-bridge backend"]} == minecraft
    others = {"xonotic-5001", "terraria-5003"}
    assert {host for host, found in places.items() if found == [*records, "traefik file"]} == others
    assert places.keys() == minecraft | others


def test_records_it_once_by_the_inventory_of_the_day(database: Database, lab: Lab) -> None:
    _, instance = publish_as_before(database, "terraria")
    assert instance.vmid is not None
    duty = record.make(database, settings_of(lab), load_catalogue(settings_of(lab).catalogue_path))
    assert [str(instance.hostname) in line for line in duty.perform()] == [True]
    port = 25000 + instance.vmid
    found = recorded(database)
    assert {(one.driver, one.type) for one in found} == {
        ("technitium", "A"), ("technitium", "SRV"), ("cloudflare", "A"), ("cloudflare", "SRV"), ("traefik", "file"),
    }  # fmt: skip
    assert all(f" {port} " in one.value for one in found if one.type == "SRV")
    assert [one.value for one in found if one.type == "file"] == ["192.0.2.7:7777"]
    assert list_unrecorded(database) == []
    assert list(duty.perform()) == []
    assert recorded(database) == found


def test_leaves_alone_what_another_worker_has_recorded(database: Database) -> None:
    lease, instance = publish_as_before(database, "minecraft")
    assert record_earlier(database, instance.id, [storage.PUBLICATION])
    leases.record(database, lease, [PublicationsStruck((storage.PUBLICATION,))])
    assert not record_earlier(database, instance.id, [storage.PUBLICATION])
    assert recorded(database) == []
    assert not record_earlier(database, uuid4(), [storage.PUBLICATION]), "it is gone"


def test_plans_the_same_names_as_the_task_that_published(database: Database, lab: Lab) -> None:
    _, instance = publish_as_before(database, "minecraft")
    dns = [entry | {"zone": entry["zone"].upper()} for entry in lab.site["dns"]]
    site = {"hostwright_dns": dns, "hostwright_proxy": McRouter().entry(lab)}
    planned = record.plan_earlier(instance, load_catalogue(settings_of(lab).catalogue_path), site)
    assert [one.name for one in planned if one.driver == "mc-router"] == [
        f"{instance.hostname}.lab.internal", f"{instance.hostname}.lab.example"
    ]  # fmt: skip


def test_names_a_game_that_is_gone_and_forgets_nothing(
    database: Database, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    _, instance = publish_as_before(database, "quake")
    settings = settings_of(lab)
    catalogue = load_catalogue(settings.catalogue_path)
    with pytest.raises(PhaseError, match="the game quake is not in the catalogue"):
        record.plan_earlier(instance, catalogue, read_variables(settings))
    assert list(record.make(database, settings, catalogue).perform()) == []
    assert "the game quake is not in the catalogue" in caplog.text
    assert [each.id for each in list_unrecorded(database)] == [instance.id]


def test_claims_a_deletion_knowing_whether_the_record_is_whole(database: Database) -> None:
    lease, instance = publish_as_before(database, "minecraft")
    endings.complete(database, PROVISION, instance.id, lease, address="192.0.2.7", hostname="mc")
    placed = requests.place(database, TEARDOWN, server_id=instance.id, vmid=None, customer_id=CUSTOMER)
    assert placed is not None
    claimed = storage.claim_one(database, placed[0], storage.claimant())
    assert claimed is not None
    assert not claimed.publications_known


def carry_out(database: Database, settings: Settings, catalogue: Catalogue) -> OperationRow:
    """Take the operation whose turn it is to its end, as a worker does."""
    claimed_at = time.monotonic()
    claim = leases.claim_next(database, storage.claimant())
    assert claim is not None
    with Attempt(database, settings, claim, claimed_at, threading.Event()) as attempt:
        carry.carry_out(attempt, catalogue)
    return storage.operation(database, claim.operation.id)


def clean_leftovers(database: Database, settings: Settings, catalogue: Catalogue) -> OperationRow:
    """Let the time come at which a sweep looks after what was left behind, and carry out what it begins."""
    storage.query(database, "update instance set attend_at = now() - interval '1 second'")
    assert len(storage.swept(database).begun) == 1
    return carry_out(database, settings, catalogue)


def test_leaves_nothing_published_that_is_not_recorded_when_an_order_is_undone(database: Database, lab: Lab) -> None:
    lease, instance = publish_as_before(database, "quake")
    settings = settings_of(lab)
    catalogue = load_catalogue(settings.catalogue_path)
    duty = record.make(database, settings, catalogue)
    endings.begin_cleaning(database, lease, storage.FAILURE)
    storage.expire(database, lease.operation_id)

    undone = carry_out(database, settings, catalogue)
    assert undone.status is OperationStatus.FAILED
    assert undone.cleanup is not None
    steps = {step.name: step for step in undone.cleanup.steps}
    assert steps[Phase.UNPUBLISH_EDGE].status is PhaseStatus.FAILED
    assert "is not recorded yet" in str(steps[Phase.UNPUBLISH_EDGE].message)
    assert steps[Phase.DELETE_CONTAINER].status is PhaseStatus.OK
    assert undone.cleanup.leaked == (f"edge:{instance.hostname}",)
    assert storage.instance(database, instance.id).vmid == instance.vmid

    again = clean_leftovers(database, settings, catalogue)
    assert again.status is OperationStatus.FAILED
    assert again.error is not None
    assert "is not recorded yet" in again.error.message
    assert list(duty.perform()) == []

    storage.query(database, """update instance set spec = spec || '{"game": "minecraft"}'""")  # it is back
    assert len(list(duty.perform())) == 1
    assert recorded(database) != []
    assert clean_leftovers(database, settings, catalogue).status is OperationStatus.SUCCEEDED
    assert recorded(database) == []
    cleaned = storage.instance(database, instance.id)
    assert (cleaned.vmid, cleaned.leaked) == (None, ())


def test_deletes_no_server_without_a_vmid_that_is_still_published(database: Database, lab: Lab) -> None:
    lease = storage.start(database)
    instance_id = storage.operation(database, lease.operation_id).instance_id
    leases.record(database, lease, [PublicationsRecorded((storage.PUBLICATION,))])
    storage.give_back(database, lease)
    assert storage.instance(database, instance_id).vmid is None
    placed = requests.place(database, TEARDOWN, server_id=instance_id, vmid=None, customer_id=CUSTOMER)
    assert placed is not None
    settings = settings_of(lab)
    deletion = carry_out(database, settings, load_catalogue(settings.catalogue_path))
    assert deletion.status is OperationStatus.FAILED
    assert deletion.error is not None
    assert deletion.error.phase == Phase.UNPUBLISH_EDGE
    assert "A mc.lab at internal/lab" in deletion.error.message


def test_names_what_is_still_published_of_an_order_without_a_vmid(database: Database, lab: Lab) -> None:
    lease = storage.claim(database, storage.place(database).operation_id)
    leases.record(database, lease, [PublicationsRecorded((storage.PUBLICATION,))])
    endings.begin_cleaning(database, lease, storage.FAILURE)
    storage.expire(database, lease.operation_id)
    settings = settings_of(lab)
    undone = carry_out(database, settings, load_catalogue(settings.catalogue_path))
    assert storage.instance(database, undone.instance_id).leaked == ("edge:mc.lab",)
