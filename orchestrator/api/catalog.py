"""The catalogue: what can be ordered, and within which limits."""

from starlette.responses import Response

from orchestrator.api.http.answers import Answer, answer
from orchestrator.api.http.call import Call
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.domain import catalogue
from orchestrator.domain.catalogue import Catalogue, Game


class RangeAnswer(Answer):
    """The bounds of a resource."""

    minimum: int
    """The least that may be ordered."""
    default: int
    """What an order gets that names none."""
    maximum: int
    """The most that may be ordered."""


class OrderLimits(Answer):
    """The bounds of each resource of a container type."""

    memory_mib: RangeAnswer
    """Memory in MiB."""
    cpu_cores: RangeAnswer
    """CPU cores."""
    disk_gib: RangeAnswer
    """Disk in GiB."""


class VariantAnswer(Answer):
    """A variant of a game."""

    variant: str
    """Its name, as an order names it."""
    versions: list[str]
    """The versions that can be ordered."""


class GameAnswer(Answer):
    """A game that can be ordered."""

    game: str
    """Its name, as an order names it."""
    protocol: str
    """How its players reach it: `tcp` or `udp`."""
    reached_by: str
    """`name` when all servers share a port and differ by name, or `port` when each has a public port of its own."""
    variants: list[VariantAnswer]
    """Its variants."""


class RuntimeAnswer(Answer):
    """A runtime of dev containers."""

    runtime: str
    """Its name, as an order names it."""
    versions: list[str]
    """The versions that can be ordered."""


class CatalogAnswer(Answer):
    """Everything that can be ordered."""

    limits: dict[str, OrderLimits]
    """The bounds of an order by container type: `game` and `dev`."""
    games: list[GameAnswer]
    """The games."""
    runtimes: list[RuntimeAnswer]
    """The runtimes of dev containers."""


def show(call: Call) -> Response:
    """Show what can be ordered, and the bounds of its resources. What is left out of an order has its default."""
    return answer(describe(call.parts.catalogue))


def describe(offered: Catalogue) -> CatalogAnswer:
    """What customers are told of a catalogue: nothing of paths, ports and VMIDs of the site."""
    runtimes = offered.dev.runtimes.items()
    return CatalogAnswer(
        limits={ctype: _describe_limits(limits) for ctype, limits in offered.limits.items()},
        games=[_describe_game(name, game) for name, game in offered.games.items()],
        runtimes=[RuntimeAnswer(runtime=name, versions=runtime.versions) for name, runtime in runtimes],
    )


def _describe_limits(limits: catalogue.Limits) -> OrderLimits:
    return OrderLimits.model_validate(limits.model_dump())


def _describe_game(name: str, game: Game) -> GameAnswer:
    return GameAnswer(
        game=name,
        protocol=game.protocol,
        reached_by="name" if game.edge == "router" else "port",
        variants=[VariantAnswer(variant=each, versions=list(data.versions)) for each, data in game.variants.items()],
    )


ENDPOINTS = (Endpoint("GET", "/catalog", "showCatalog", show, "Show what can be ordered", result=CatalogAnswer),)
