"""What the world is told of an instance: each DNS record, registration and file, as it is made and taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Publication:
    """One record, registration or file that leads players to an instance."""

    driver: str
    place: str
    type: str
    name: str
    value: str

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Publication:
        """Raises KeyError, TypeError or ValueError when it is none."""
        return Publication(**{name: str(fields[name]) for name in Publication.__dataclass_fields__})

    def as_dict(self) -> dict[str, str]:
        """As JSON, an event or a query takes it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
