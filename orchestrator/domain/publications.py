"""What is published at the edge. Each publication is recorded before it is made, and later removed by its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, order=True)
class Publication:
    """One DNS record, registration or file. Its fields are plain text, which any release can read.

    | driver | place | type | name | value |
    |---|---|---|---|---|
    | technitium, rfc2136 | `<entry name>/<zone>` | A, SRV, TXT | the full record name | as in drivers/dns/records.py |
    | cloudflare | `<entry name>/<zone_id>` | A, SRV | the same | the same |
    | zpack-bridge | `proxy` | backend | what is registered | `address:port` |
    | mc-router | `proxy` | route | one full host name | `address:port` |
    | traefik | `<host>:<directory>` | file | the file's name without `.yml` | `address:port` |
    """

    driver: str
    place: str
    type: str
    name: str
    value: str

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Publication:
        """Read a publication from JSON, and ignore members that a newer release wrote.

        Raises ValueError, which quotes nothing of the entry, unless all five fields are strings.
        """
        values = {field.name: entry.get(field.name) for field in fields(cls)}
        wrong = [name for name, value in values.items() if not isinstance(value, str)]
        if wrong:
            raise ValueError(f"this is no publication, because it has no text as its {', '.join(wrong)}")
        return cls(**{name: str(value) for name, value in values.items()})

    def as_dict(self) -> dict[str, str]:
        """Return the publication as `from_dict` takes it."""
        return asdict(self)
