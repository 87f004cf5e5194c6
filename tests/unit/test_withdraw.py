"""In which order what was published is removed."""

import itertools

import pytest

from orchestrator.domain.publications import Publication
from orchestrator.drivers.edge.withdraw import Group, withdraw

RECORD = Publication("technitium", "technitium/lab.internal", "A", "a.lab.internal", "192.0.2.7")
OTHER = Publication("rfc2136", "primary/lab.example", "A", "a.lab.example", "192.0.2.7")
REGISTRATION = Publication("zpack-bridge", "proxy", "backend", "a", "10.0.0.1:25565")


@pytest.mark.parametrize("publications", [*itertools.permutations([RECORD, OTHER, REGISTRATION])])
def test_takes_the_registration_back_before_any_record(publications: tuple[Publication, ...]) -> None:
    removed: list[Publication] = []

    def remove(group: Group) -> bool:
        removed.extend(group)
        return True

    done = withdraw(publications, remove)
    assert removed[0] == REGISTRATION
    assert done.gone == removed
    assert set(removed) == set(publications)
