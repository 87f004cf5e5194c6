"""The catalogue: what can be ordered. The same plain data that the roles read from the inventory."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.errors import ConfigurationError

ContainerType = Literal["game", "dev"]


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
    """What one version needs: the Java major version."""

    java: int


class Variant(_Frozen):
    """One variant of a game: the artifact's path and the versions there are."""

    artifact: str
    versions: dict[str, VersionData]


class Game(_Frozen):
    """One game: how players find it, and its variants."""

    service: str
    protocol: Literal["tcp", "udp"]
    port: int
    hostname: str
    variants: dict[str, Variant]


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
    games: dict[str, Game]
    dev: Dev

    def hostname(self, ctype: ContainerType, vmid: int, *, game: str | None, variant: str | None) -> str:
        """The short host name of an instance; it follows the VMID, the zone is added at the edge."""
        if ctype == "dev" or game is None:
            return self.dev.hostname.format(vmid=vmid)
        return self.games[game].hostname.format(variant=variant, vmid=vmid)


def load_catalogue(path: Path) -> Catalogue:
    """Read the catalogue file of an inventory.

    Raises ConfigurationError when it is missing or wrong, naming the place.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Catalogue.model_validate(data["hostwright_catalogue"])
    except OSError as error:
        raise ConfigurationError(f"the catalogue {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} holds no hostwright_catalogue: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}: {place}: {first['msg']}") from error
