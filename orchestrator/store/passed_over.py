"""The operations that a worker has passed over, because a newer release wrote what it cannot read."""

from dataclasses import dataclass, field
from uuid import UUID

from psycopg.types.json import Jsonb


@dataclass(frozen=True)
class PassedOver:
    """Operations with the fencing tokens that they had. One with another token was claimed since, and is read again."""

    _tokens: dict[UUID, int] = field(default_factory=dict)

    def add(self, operation_id: UUID, fencing_token: int) -> None:
        """Pass an operation over until somebody has claimed it."""
        self._tokens[operation_id] = fencing_token

    def parameter(self) -> Jsonb:
        """Return what the fragment `unread` needs. Other threads may add meanwhile."""
        return Jsonb({str(operation_id): token for operation_id, token in self._tokens.copy().items()})
