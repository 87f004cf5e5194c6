"""Orders as clients send them, checked against their models and the catalogue."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from orchestrator.api.http.bodies import CustomerId, name_errors, one_line, parse_object
from orchestrator.api.http.parameters import CUSTOMER_ID, Parameter, optional
from orchestrator.api.http.problems import invalid
from orchestrator.domain.admission import Demand, request_hash
from orchestrator.domain.catalogue import Catalogue, ContainerType, Range
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.models import Principal
from orchestrator.store.orders import Order

CONTAINER_TYPES: tuple[ContainerType, ...] = ("game", "dev")
_CTYPE_NAMES = ("ctype", "containerType", "container_type")
# Bare, or as the draft of the header has it: a string of structured fields (RFC 9651 section 3.3.3), whose quotes and
# backslashes have a backslash before them.
_KEY = re.compile(r'([\x21\x23-\x7e]{1,255})|"((?:[\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')
_ESCAPED = re.compile(r'\\(["\\])')

EnvName = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]{0,63}$")]
# The length is checked first, which also refuses text that is not Unicode.
EnvValue = Annotated[str, Field(max_length=1024), AfterValidator(one_line)]


def _parse_key(text: str) -> str:
    match = _KEY.fullmatch(text)
    if match is None:
        raise ValueError
    return match[1] or _ESCAPED.sub(r"\1", match[2])


KEY = Parameter(
    "Idempotency-Key", "header", {"type": "string", "pattern": f"^({_KEY.pattern})$"},
    "Names the order, so that it is accepted once however often it is sent: 1 to 255 visible ASCII characters, bare "
    "or as a quoted string. Each customer has keys of its own, and they are kept for 7 days.",
    optional(_parse_key), "must be 1 to 255 visible ASCII characters",
)  # fmt: skip
"""The idempotency key of an order, bare or quoted."""


class _Order(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, use_attribute_docstrings=True
    )

    customer_id: CustomerId | None = Field(default=None, alias="customerId")
    """Whose order it is. Operators must say it, customers must not."""
    on_failure: Literal["cleanup", "keep"] = Field(default="cleanup", alias="onFailure")
    """What becomes of a machine whose order fails: it is removed, or kept for a day to be looked at and retried."""
    memory_mib: int | None = Field(default=None, alias="memoryMiB")
    """Memory in MiB. Left out: the default of the catalogue, which also has the limits."""
    cpu_cores: int | None = Field(default=None, alias="cpuCores")
    """CPU cores. Left out: the default of the catalogue."""
    disk_gib: int | None = Field(default=None, alias="diskGiB")
    """Disk in GiB. Left out: the default of the catalogue."""

    @field_validator("memory_mib", "cpu_cores", "disk_gib")
    @classmethod
    def _within_limits(cls, value: int | None, info: ValidationInfo) -> int:
        context = _read_context(info)
        bounds: Range = getattr(context.catalogue.limits[context.ctype], str(info.field_name))
        if value is None:
            return bounds.default
        if not bounds.minimum <= value <= bounds.maximum:
            raise PydanticCustomError(
                "limits", "must be from {low} to {high}", {"low": bounds.minimum, "high": bounds.maximum}
            )
        return value


class GameOrder(_Order):
    """An order for a game server."""

    ctype: Literal["game"]
    """The container type, which may also be called `containerType` or `container_type`."""
    game: str = Field(default="minecraft", max_length=64)
    """A game of the catalogue."""
    variant: str = Field(max_length=64)
    """A variant of the game."""
    version: str = Field(max_length=64)
    """A version of the variant."""
    world: str = Field(default="world", pattern=r"^[A-Za-z0-9_][A-Za-z0-9 _.-]{0,63}$")
    """The name of the world."""
    env: dict[EnvName, EnvValue] = Field(default_factory=dict, max_length=32)
    """Environment variables of the game. A value is one line, and is never shown again."""

    @field_validator("game", "variant", "version")
    @classmethod
    def _in_catalogue(cls, value: str, info: ValidationInfo) -> str:
        games = _read_context(info).catalogue.games
        if info.field_name == "game":
            return _choose(value, games)
        named = games.get(info.data.get("game", ""))
        variants = [each for game in ([named] if named else games.values()) for each in game.variants.items()]
        if info.field_name == "variant":
            return _choose(value, [name for name, _ in variants], after=None if named else "game")
        chosen = [variant for name, variant in variants if name == info.data.get("variant")]
        offered = chosen or [variant for _, variant in variants]
        versions = [version for variant in offered for version in variant.versions]
        return _choose(value, versions, after=None if named and chosen else "variant")


class DevOrder(_Order):
    """An order for a dev container."""

    ctype: Literal["dev"]
    """The container type, which may also be called `containerType` or `container_type`."""
    runtime: str = Field(max_length=64)
    """A runtime of the catalogue."""
    version: str = Field(max_length=64)
    """A version of the runtime."""
    enable_code_server: bool = Field(default=True, alias="enableCodeServer")
    """Whether it gets an editor in the browser."""

    @field_validator("runtime", "version")
    @classmethod
    def _in_catalogue(cls, value: str, info: ValidationInfo) -> str:
        runtimes = _read_context(info).catalogue.dev.runtimes
        if info.field_name == "runtime":
            return _choose(value, runtimes)
        named = runtimes.get(info.data.get("runtime", ""))
        offered = [named] if named else runtimes.values()
        versions = [version for runtime in offered for version in runtime.versions]
        return _choose(value, versions, after=None if named else "runtime")


@dataclass(frozen=True)
class _Context:
    catalogue: Catalogue
    ctype: ContainerType


def _read_context(info: ValidationInfo) -> _Context:
    if not isinstance(info.context, _Context):
        raise TypeError("orders are validated with the catalogue at hand")
    return info.context


def _choose(value: str, choices: Any, *, after: str | None = None) -> str:
    """Return the value if it is one of the choices.

    `after` names the wrong field on which the choices depend. They are then those of everything, and none is named.
    """
    if value not in choices and after is not None:
        raise PydanticCustomError("choice", "is not in the catalogue: choose the {field} first", {"field": after})
    if value not in choices:
        listed = ", ".join(list(dict.fromkeys(choices))[:20])
        raise PydanticCustomError("choice", "is not in the catalogue; there is: {listed}", {"listed": listed})
    return value


def parse_order(body: bytes, key: str | None, principal: Principal, catalogue: Catalogue) -> Order:
    """Read an order. Raises Problem: forbidden, or invalid-request naming the wrong fields."""
    data = parse_object(body)
    body_hash = request_hash(data)
    ctype, errors = _take_ctype(data)
    customer_id = _choose_customer(data, principal, errors)
    if ctype is None:
        invalid(errors + _find_common_errors(data, catalogue))
    order, wrong = _validate(data, catalogue, ctype)
    if errors or wrong or order is None or customer_id is None:
        invalid(errors + wrong)
    spec = order.model_dump(exclude={"customer_id"})
    return Order(
        customer_id=customer_id,
        demand=Demand(
            key, request_hash(spec), ctype, spec["memory_mib"], spec["cpu_cores"],
            keep=spec["on_failure"] == "keep", body_hash=body_hash,
        ),
        spec=spec,
    )  # fmt: skip


def _find_common_errors(data: dict[str, Any], catalogue: Catalogue) -> list[dict[str, str]]:
    """Find what is wrong with an order whatever its container type is, which it does not tell."""
    game, dev = _names(GameOrder), _names(DevOrder)
    likely: ContainerType = "dev" if data.keys() & (dev - game) else "game"
    _, wrong = _validate(data | {"ctype": likely}, catalogue, likely)
    return [error for error in wrong if error["pointer"].split("/")[1] not in game ^ dev]


def _names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def identify_order(body: bytes, principal: Principal) -> tuple[str | None, bytes]:
    """Return whose order it is, if it says so, and the hash of its body, without the catalogue. Raises Problem."""
    data = parse_object(body)
    named = data.get("customerId")
    known = isinstance(named, str) and CUSTOMER_ID.fullmatch(named)
    return principal.customer_id or (named if known else None), request_hash(data)


def _validate(
    data: dict[str, Any], catalogue: Catalogue, ctype: ContainerType
) -> tuple[GameOrder | DevOrder | None, list[dict[str, str]]]:
    """Check an order. Returns it, or its wrong fields."""
    model: type[GameOrder | DevOrder] = GameOrder if ctype == "game" else DevOrder
    try:
        return model.model_validate(data, context=_Context(catalogue, ctype)), []
    except ValidationError as error:
        # Orders nest no deeper. A third part of a location only says that a name in `env` is wrong.
        return None, name_errors(error, thing="order", depth=2)


def _take_ctype(data: dict[str, Any]) -> tuple[ContainerType | None, list[dict[str, str]]]:
    """Move the container type to `ctype` from whichever name it was sent under. Returns it, or its errors."""
    given = {name: data.pop(name) for name in _CTYPE_NAMES if name in data}
    if not given:
        return None, [{"pointer": "/ctype", "detail": 'is required: "game" or "dev"'}]
    for known in CONTAINER_TYPES:
        if all(value == known for value in given.values()):
            data["ctype"] = known
            return known, []
    detail = 'must be "game" or "dev"' if len(given) == 1 else 'must all be the same, "game" or "dev"'
    return None, [{"pointer": f"/{name}", "detail": detail} for name in given]


def _choose_customer(data: dict[str, Any], principal: Principal, errors: list[dict[str, str]]) -> str | None:
    named = data.get("customerId")
    if principal.customer_id is None:
        if named is None:
            errors.append({"pointer": "/customerId", "detail": "is required: operators order for a customer"})
        return named if isinstance(named, str) else None
    if named is not None:
        raise Problem(ProblemCode.FORBIDDEN, "customerId is for operators only: your token says who you are")
    return principal.customer_id
