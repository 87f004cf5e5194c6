"""Says whether anything of an instance is still published, or may be. As long as it is, the instance keeps its VMID."""

from collections.abc import Sequence

from orchestrator.domain.errors import Code
from orchestrator.domain.models import Failure
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.worker.attempt import Attempt


def check_unpublished(attempt: Attempt, publications: Sequence[Publication]) -> Failure | None:
    """Return why the instance cannot be forgotten yet, or None when nothing of it is published.

    `publications` is what its record holds now.
    """
    if not attempt.claim.publications_known:
        return unrecorded(attempt)
    return _still_published(publications) if publications else None


def unrecorded(attempt: Attempt) -> Failure:
    """Return the failure of whatever takes something back by a record that is not whole."""
    return Failure(
        code=Code.INTERNAL,
        phase=Phase.UNPUBLISH_EDGE,
        message=f"what an earlier release published of {attempt.operation.hostname} is not recorded yet: "
        "the worker's log says what is missing for it in the inventory or the catalogue",
    )


def _still_published(publications: Sequence[Publication]) -> Failure:
    named = ", ".join(f"{each.type} {each.name} at {each.place}" for each in publications)
    return Failure(
        code=Code.INTERNAL,
        phase=Phase.UNPUBLISH_EDGE,
        message=f"these are recorded as published, and no playbook has said that they were taken back: {named}",
    )
