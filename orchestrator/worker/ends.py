"""Tells in the worker's log how its operations have ended."""

import logging
from contextlib import suppress
from uuid import UUID

from orchestrator.domain.errors import StoreUnavailable
from orchestrator.domain.models import OperationRow
from orchestrator.domain.states import OPERATION_FINAL
from orchestrator.store import reads
from orchestrator.store.connection import Database

log = logging.getLogger(__name__)


def log_end(database: Database, operation_id: UUID) -> None:
    """Log one line if the operation has ended. The row says so, because an attempt may also have put it back."""
    with suppress(StoreUnavailable):  # the outage is logged by those who must write
        row = reads.get_operation(database, operation_id, None)
        if row is not None and row.status in OPERATION_FINAL:
            log.info("operation %s: %s of %s: %s", row.id, row.kind, row.customer_id, describe_end(row))


def describe_end(row: OperationRow) -> str:
    """Say how an operation ended, such as `failed with agent-error at send-agent-config after 12.3 s`."""
    reason = f" with {row.error.code}" if row.error is not None and row.error.code != row.status else ""
    where = f" at {row.error.phase}" if row.error is not None and row.error.phase is not None else ""
    began, ended = row.started_at or row.created_at, row.finished_at or row.created_at
    return f"{row.status}{reason}{where} after {(ended - began).total_seconds():.1f} s"
