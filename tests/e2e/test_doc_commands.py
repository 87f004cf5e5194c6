"""Every command that the documents print is run as a reader types it; docs/testing.md says what is not."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.domain.phases import PLAYED
from orchestrator.settings import PROJECT_DIR
from tests.support.doc_blocks import SHELL_LABELS, Block, find_blocks, find_pages
from tests.support.doc_reader import Reader, reading
from tests.support.fix_stack import Running

TAKEN_FOR_GRANTED: dict[str, tuple[Callable[[Reader], None], ...]] = {
    "docs/runbook.md": (Reader.have_server, Reader.have_site),
    "inventory/production.example/README.md": (Reader.have_server,),
}
"""What a page needs beside the running lab."""


def to_run(page: Path) -> list[Block]:
    """The blocks of a page that are run."""
    return [block for block in find_blocks(page) if block.label in SHELL_LABELS and block.reason is None]


PAGES = {str(page.relative_to(PROJECT_DIR)): blocks for page in find_pages() if (blocks := to_run(page))}
ROLES = [f"roles/{phase.role}/README.md" for phase in dict.fromkeys(PLAYED)]


@pytest.fixture
def reader(stack: Running) -> Iterator[Reader]:
    # Not below pytest's own directory: it is too long for the paths of sockets, and root's server could not enter it.
    with tempfile.TemporaryDirectory(prefix="hostwright-docs-") as home, reading(stack, Path(home)) as reader:
        yield reader


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("roles/")])
def test_case_f3_runs_every_command_of_a_page(reader: Reader, page: str) -> None:
    for provide in TAKEN_FOR_GRANTED.get(page, ()):
        provide(reader)
    for block in PAGES[page]:
        reader.read(block)


def test_case_f3_runs_the_command_of_every_role_by_hand(reader: Reader) -> None:
    """One after the other they make a container of their own, publish it, and delete it again."""
    assert set(ROLES) == {page for page in PAGES if page.startswith("roles/")}
    reader.have_vmid()
    for page in ROLES:
        for block in PAGES[page]:
            reader.read(block)
