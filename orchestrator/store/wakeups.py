"""The queue: Huey on the same PostgreSQL. It only wakes a worker; the operation's row holds the truth.

The serializer is JSON: with Huey's default, pickle, whoever can write the table could run code in a worker.
"""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from huey import PostgresHuey
from huey.registry import Message
from huey.serializer import Serializer

QUEUE = "hostwright"
CHANNEL = f"huey.q.{QUEUE}"
"""Huey's notification channel of the queue (PostgresStorage.channel, Huey 3.5.4); a test holds both together."""
RUN_OPERATION = "orchestrator.worker.run_operation"
"""The queue's only task, by the name Huey registers it under."""


class JsonSerializer(Serializer):  # type: ignore[misc]
    """Messages as JSON arrays of Huey's Message fields."""

    def _serialize(self, data: Any) -> bytes:
        return json.dumps(list(data)).encode()

    def _deserialize(self, data: bytes) -> Message:
        return Message(*json.loads(data))


def message(operation_id: UUID) -> bytes:
    """The message that wakes a worker for an operation, ready for the queue's table."""
    task = Message(id=str(uuid4()), name=RUN_OPERATION, retries=0, retry_delay=0, args=[str(operation_id)], kwargs={})
    return json.dumps(list(task)).encode()


def make_huey(connect: Callable[[], Any]) -> PostgresHuey:
    """The queue as a consumer uses it. `connect` opens a connection of its own for each thread."""
    return PostgresHuey(
        QUEUE, connection=connect, create_tables=False, serializer=JsonSerializer(), results=False, utc=True
    )
