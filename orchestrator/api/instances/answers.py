"""Answers about instances, and how they are made of rows."""

from collections.abc import Iterable
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from uuid import UUID

from pydantic import Field

from orchestrator.api.http.answers import Address, Answer
from orchestrator.api.operations.answers import operation_path
from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.models import InstanceRow, InstanceStatusRead, ServerRow
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import InstanceStatus
from orchestrator.drivers.dns.records import srv_parts

_SIGN_IN = "open it from the network of the dev containers: no password is asked for"
_REGISTERED_IN = frozenset({InstanceStatus.PROVISIONING, InstanceStatus.READY})
"""The states in which a server may be registered at the proxy."""
_NOT_IN_EVERY_ORDER = dict.fromkeys(("game", "variant", "version", "runtime"))


class JoinAnswer(Answer):
    """How players reach a game server."""

    address: str
    """The full name that was published."""
    port: int
    """The port."""
    srv: str
    """The SRV record by which Minecraft finds the port."""


class EditorAnswer(Answer):
    """How the customer reaches the editor of a dev container."""

    url: str
    """The address in the browser."""
    sign_in: str
    """What is needed to sign in."""


class InstanceAnswer(Answer):
    """An instance. It exists from its order on."""

    server_id: UUID
    """The id of the instance."""
    customer_id: str
    """Whose it is."""
    status: InstanceStatusRead
    """Its state. It is `stopping` from the moment when a worker begins to stop it."""
    vmid: int | None
    """Its VMID at Proxmox; null until one is chosen."""
    hostname: str | None
    """Its short host name, without a zone; null until one is chosen."""
    ctype: str
    """The container type: `game` or `dev`."""
    game: str | None
    """The game."""
    variant: str | None
    """The variant of the game."""
    version: str | None
    """The version of the game or runtime."""
    runtime: str | None
    """The runtime."""
    memory_mib: int = Field(alias="memoryMiB")
    """Its memory in MiB."""
    cpu_cores: int
    """Its CPU cores."""
    disk_gib: int = Field(alias="diskGiB")
    """Its disk in GiB."""
    created_at: datetime
    """When it was ordered."""
    ready_at: datetime | None
    """When it became ready."""
    address: Address | None
    """The address of the container itself. Players use the published name."""
    public_port: int | None
    """The port at which players reach the published name. Minecraft finds it by the SRV record."""
    join: JoinAnswer | None
    """How players reach a ready game server."""
    editor: EditorAnswer | None
    """How to reach the editor of a ready dev container."""
    proxy_status: str | None
    """What the proxy said of the server. Null when it has not said anything lately."""
    leaked: list[str]
    """What a cleanup could not remove yet. It is tried again."""
    failing_since: datetime | None
    """Since when its deletion, its stop or the removal of what was left behind fails. It is tried again."""
    next_try_at: datetime | None
    """When that is tried next. Null while nothing fails, and during a try."""
    expires_at: datetime | None
    """When a quarantined machine is deleted."""
    active_operation_id: UUID | None
    """The operation that is active for it."""
    links: dict[str, str]
    """Paths by name: `self`, and `operation` while one is active."""


class InstancePage(Answer):
    """Instances in the order they were ordered; `next` is the `after` of the next page."""

    instances: list[InstanceAnswer]
    """The instances of the page."""
    next: UUID | None
    """The `after` of the next page; null on the last."""


class LegacyServer(Answer):
    """An instance in the predecessor's list shape."""

    id: str
    """The VMID, or the id of the instance while there is no VMID."""
    name: str | None
    """The short host name."""
    category: str
    """`GAME` or `DEV`."""
    runtime: str | None
    """The runtime."""
    flavor: str | None
    """The variant of the game."""
    version: str | None
    """The version of the game or runtime."""
    status: str
    """The state of the instance."""


class LegacyPage(Answer):
    """The predecessor's list, which has no pages."""

    servers: list[LegacyServer]
    """The first 1000 instances."""


def instance_answer(row: InstanceRow, catalogue: Catalogue, vouched_seconds: float, prefix: str) -> InstanceAnswer:
    """Turn an instance's row into its answer. What the proxy said longer ago than `vouched_seconds` is left out."""
    links = {"self": f"{prefix}/api/instances/{row.id}"}
    if row.active_operation is not None:
        links["operation"] = operation_path(row.active_operation, prefix)
    return InstanceAnswer.of(
        row,
        **_NOT_IN_EVERY_ORDER | row.spec,
        server_id=row.id,
        join=_read_join(row.records or ()),
        editor=_find_editor(row, catalogue.dev.code_server_port),
        public_port=catalogue.public_port(row.spec.get("game"), row.vmid),
        active_operation_id=row.active_operation,
        proxy_status=_read_proxy_status(row, vouched_seconds),
        next_try_at=row.attend_at if row.failing_since is not None else None,
        links=links,
    )


def _read_join(records: Iterable[Publication]) -> JoinAnswer | None:
    """Return where players join. None, too, when a newer release has recorded it in another form."""
    try:
        return _find_join(records)
    except ValueError:
        return None


def _find_join(records: Iterable[Publication]) -> JoinAnswer | None:
    """Return where players join, by what was published. Of several zones, a public one is told, or else the last."""
    edges = {record.name: record.value for record in records if record.type == "A"}
    services = [(record.name, *srv_parts(record.value)[2:]) for record in records if record.type == "SRV"]
    if not services:
        return None
    public = [one for one in services if one[2] in edges and ip_address(edges[one[2]]).is_global]
    srv, port, host = (public or services)[-1]
    return JoinAnswer(address=host, port=port, srv=srv)


def _find_editor(row: InstanceRow, port: int) -> EditorAnswer | None:
    ready = row.status is InstanceStatus.READY and row.address is not None
    if not ready or not row.spec.get("enable_code_server"):
        return None
    host = f"[{row.address}]" if isinstance(row.address, IPv6Address) else row.address
    return EditorAnswer(url=f"http://{host}:{port}/", sign_in=_SIGN_IN)


def _read_proxy_status(row: InstanceRow, vouched_seconds: float) -> str | None:
    """Return what the proxy last said, as long as it can still be true."""
    told = row.proxy_status_age is not None and row.proxy_status_age <= vouched_seconds
    return row.proxy_status if told and row.status in _REGISTERED_IN else None


def legacy_server(row: ServerRow) -> LegacyServer:
    """Turn an instance's row into an entry of the predecessor's list."""
    return LegacyServer(
        id=str(row.vmid or row.id),
        name=row.hostname,
        category=row.ctype.upper(),
        runtime=row.runtime,
        flavor=row.variant,
        version=row.version,
        status=row.status,
    )
