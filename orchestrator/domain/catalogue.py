"""The catalogue of what can be ordered. The roles read the same data from the inventory."""

import re
from typing import Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, model_validator

from orchestrator.domain.probes import Probe

ContainerType = Literal["game", "dev"]
_PORTS = 65536
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(_Frozen):
    """The bounds of a resource, and the amount for an order that names none."""

    minimum: int
    default: int
    maximum: int


class Limits(_Frozen):
    """The resource limits of one container type."""

    memory_mib: Range
    cpu_cores: Range
    disk_gib: Range


class VersionData(_Frozen):
    """What one version of a game needs. `java` is the Java major version, or None for a game that needs no Java."""

    java: int | None = None


class Variant(_Frozen):
    """One variant of a game, with the path of its artifact and its versions."""

    artifact: str
    versions: dict[str, VersionData]


class Question(_Frozen):
    """What is sent to a game to see whether it answers, and how its answer begins. Both are hex digits."""

    send: str = ""
    expect: str = ""


class Game(_Frozen):
    """One game, with its variants and the way in which players reach it.

    `edge` is `router` for a game that players reach by host name, through the proxy that speaks Minecraft. It is
    `entry-point` for a game whose servers each have a public port.
    """

    service: str
    protocol: Literal["tcp", "udp"]
    port: int
    hostname: str
    edge: Literal["router", "entry-point"] = "router"
    probe: Literal["minecraft"] | Question = "minecraft"
    variants: dict[str, Variant]

    @model_validator(mode="after")
    def _check_probe(self) -> Self:
        if self.edge == "router" and self.probe != "minecraft":
            raise ValueError(
                "the router reads Minecraft's host name: a game with a probe of its own needs an entry-point"
            )
        if isinstance(self.probe, Question):
            Probe(self.protocol, bytes.fromhex(self.probe.send), bytes.fromhex(self.probe.expect))
        elif self.protocol != "tcp":
            raise ValueError("the Minecraft status ping is TCP: a game over UDP needs a probe with send and expect")
        return self


class EntryPoints(_Frozen):
    """The public ports of games with `edge: entry-point`. The port of a server is `base` plus its VMID."""

    base: int


class Runtime(_Frozen):
    """One runtime of dev containers."""

    versions: list[str]


class Dev(_Frozen):
    """The dev containers that can be ordered."""

    hostname: str
    code_server_port: int
    runtimes: dict[str, Runtime]


def _require_label(template: str, what: str, **values: Any) -> None:
    """Raise ValueError when the servers' names could be no names in DNS (RFC 1123 section 2.1), or are all one."""
    try:
        hostname = template.format(**values)
    except (LookupError, ValueError) as error:
        raise ValueError(f"the host name {template!r} may hold {{{'}} and {'.join(values)}}} and no other") from error
    if "{vmid}" not in template:
        raise ValueError(f"the host name {template!r} must hold {{vmid}}, or two servers would have one name")
    if not _LABEL.fullmatch(hostname):
        raise ValueError(
            f"{what} gives servers the host name {hostname!r}: a to z, 0 to 9 and hyphens inside are allowed, "
            "63 characters in all"
        )


class Catalogue(_Frozen):
    """Everything that can be ordered."""

    vmids: dict[ContainerType, tuple[int, int]]
    limits: dict[ContainerType, Limits]
    java: dict[int, str]
    entry_points: EntryPoints | None = None
    games: dict[str, Game]
    dev: Dev

    @model_validator(mode="after")
    def _check_ports(self) -> Self:
        if all(game.edge == "router" for game in self.games.values()):
            return self
        if self.entry_points is None:
            raise ValueError("a game has edge entry-point, so entry_points.base is needed")
        first, last = (self.entry_points.base + vmid for vmid in self.vmids["game"])
        if not 0 < first <= last < _PORTS:
            raise ValueError(f"entry_points.base gives the VMIDs the ports {first} to {last}: ports are 1 to 65535")
        return self

    @model_validator(mode="after")
    def _check_hostnames(self) -> Self:
        last = self.vmids["game"][1]
        for name, game in self.games.items():
            for variant in game.variants:
                _require_label(game.hostname, f"the variant {variant!r} of {name}", variant=variant, vmid=last)
        _require_label(self.dev.hostname, "dev.hostname", vmid=self.vmids["dev"][1])
        return self

    def public_port(self, game: str | None, vmid: int | None) -> int | None:
        """Return the port at which players reach a game server.

        Returns None for a dev container, a server without a VMID, and a game that is no longer offered.
        """
        found = self.games.get(game or "")
        if found is None or vmid is None:
            return None
        if found.edge == "router" or self.entry_points is None:
            return found.port
        return self.entry_points.base + vmid

    def vmid_bounds(self, ctype: str) -> tuple[int, int]:
        """Return the first and the last VMID of a container type. Raises KeyError."""
        return self.vmids[cast("ContainerType", ctype)]

    def hostname(self, ctype: str, vmid: int, *, game: str | None, variant: str | None) -> str:
        """Return the short host name of an instance, without the DNS zone. It is made from the VMID."""
        if ctype == "dev" or game is None:
            return self.dev.hostname.format(vmid=vmid)
        return self.games[game].hostname.format(variant=variant, vmid=vmid)
