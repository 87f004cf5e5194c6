"""The catalogue: what can be ordered. The same plain data that the roles read from the inventory."""

from typing import Literal, Self, cast

from pydantic import BaseModel, ConfigDict, model_validator

from orchestrator.domain.probes import Probe

ContainerType = Literal["game", "dev"]
_PORTS = 65536


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(_Frozen):
    """The bounds of a resource and what is taken when the order names none."""

    minimum: int
    default: int
    maximum: int


class Limits(_Frozen):
    """The resource limits of one container type: MiB, cores, GiB."""

    memory_mib: Range
    cpu_cores: Range
    disk_gib: Range


class VersionData(_Frozen):
    """What one version needs: the Java major version, if it is a Java program."""

    java: int | None = None


class Variant(_Frozen):
    """One variant of a game: the artifact's path and the versions there are."""

    artifact: str
    versions: dict[str, VersionData]


class Question(_Frozen):
    """What a game is asked to see whether it is there, and how its answer begins; both as hex digits."""

    send: str = ""
    expect: str = ""


class Game(_Frozen):
    """One game: how players find it, and its variants.

    `edge` says how the world reaches it: by host name through the router that speaks Minecraft, or by an entry point, a
    port of its own.
    """

    service: str
    protocol: Literal["tcp", "udp"]
    port: int
    hostname: str
    edge: Literal["router", "entry-point"] = "router"
    probe: Literal["minecraft"] | Question = "minecraft"
    variants: dict[str, Variant]

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
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
    """Ports of the world for games with `edge: entry-point`: the VMID added to `base`, so each server has its own."""

    base: int


class Runtime(_Frozen):
    """One runtime of dev containers."""

    versions: list[str]


class Dev(_Frozen):
    """What dev containers can be."""

    hostname: str
    code_server_port: int
    runtimes: dict[str, Runtime]


class Catalogue(_Frozen):
    """Everything that can be ordered."""

    vmids: dict[ContainerType, tuple[int, int]]
    limits: dict[ContainerType, Limits]
    java: dict[int, str]
    entry_points: EntryPoints | None = None
    games: dict[str, Game]
    dev: Dev

    @model_validator(mode="after")
    def _has_ports(self) -> Self:
        if all(game.edge == "router" for game in self.games.values()):
            return self
        if self.entry_points is None:
            raise ValueError("a game has edge entry-point, so entry_points.base is needed")
        first, last = (self.entry_points.base + vmid for vmid in self.vmids["game"])
        if not 0 < first <= last < _PORTS:
            raise ValueError(f"entry_points.base makes ports {first} to {last} of the VMIDs; they must be 1 to 65535")
        return self

    def public_port(self, game: str | None, vmid: int | None) -> int | None:
        """Where the world reaches a game server; None for what has no port, or none yet, or is no longer offered."""
        found = self.games.get(game or "")
        if found is None or vmid is None:
            return None
        if found.edge == "router" or self.entry_points is None:
            return found.port
        return self.entry_points.base + vmid

    def vmid_bounds(self, ctype: str) -> tuple[int, int]:
        """The first and the last VMID of a container type. Raises KeyError."""
        return self.vmids[cast("ContainerType", ctype)]

    def hostname(self, ctype: str, vmid: int, *, game: str | None, variant: str | None) -> str:
        """The short host name of an instance; it follows the VMID, the zone is added at the edge."""
        if ctype == "dev" or game is None:
            return self.dev.hostname.format(vmid=vmid)
        return self.games[game].hostname.format(variant=variant, vmid=vmid)
