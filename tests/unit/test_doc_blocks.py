"""The code blocks of the documents are ones that tests/e2e/test_doc_commands.py can run, or say why not."""

import re
import shutil
from pathlib import Path

import pytest

from orchestrator.settings import PROJECT_DIR
from tests.support.doc_blocks import OTHER_LABELS, SHELL_LABELS, Block, find_blocks, find_pages, parse_blocks
from tests.support.doc_checks import find_mistakes
from tests.support.doc_output import DifferenceError, learn, rename

PAGES = [pytest.param(page, id=str(page.relative_to(PROJECT_DIR))) for page in find_pages()]
MENTION = re.compile(r"`((?:hostwright|make|ansible-playbook) [^`\n]+)`")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def block(text: str, label: str = "sh", before: str = "") -> Block:
    """A page's only block."""
    (found,) = blocks(f"{before}\n```{label}\n{text}```\n")
    return found


def blocks(text: str) -> list[Block]:
    return parse_blocks(PROJECT_DIR / "README.md", text)


# the documents


@pytest.mark.parametrize("page", PAGES)
def test_case_f3_labels_every_block(page: Path) -> None:
    found = find_blocks(page)
    fences = re.findall(r"^ *(?:```|~~~)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(found), "a block is indented, or does not end"
    for each in found:
        assert each.label in SHELL_LABELS | OTHER_LABELS, each
        assert each.label in SHELL_LABELS or not re.search(r"^\$ ", each.text, re.MULTILINE), f"{each}: use ```console"


@pytest.mark.parametrize("page", PAGES)
def test_case_f3_says_why_a_block_is_not_run(page: Path) -> None:
    marked = [each for each in find_blocks(page) if each.reason is not None]
    markers = re.findall(r"^<!-- not run", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(markers) == len(marked), "a marker stands before no block"
    assert all(each.label in SHELL_LABELS and each.has_known_reason for each in marked), [str(each) for each in marked]


@pytest.mark.parametrize("page", PAGES)
def test_case_f3_prints_commands_that_their_programs_understand(page: Path) -> None:
    commands = [each for found in find_blocks(page) if found.label in SHELL_LABELS for each in found.commands()]
    assert [(each.line, mistakes) for each in commands if (mistakes := find_mistakes(each.text))] == []


@pytest.mark.parametrize("page", PAGES)
def test_case_f3_mentions_commands_that_their_programs_understand(page: Path) -> None:
    """Those within the text; `…` and <words> are for the reader to fill in, and what is needed may be left out."""
    for mentioned in MENTION.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if "…" not in mentioned:
            mistakes = find_mistakes(re.sub(r"<[^>]+>", "1", mentioned))
            assert [each for each in mistakes if not each.startswith("Missing parameter")] == [], mentioned


def test_case_f3_needs_programs_that_the_contributing_page_names() -> None:
    for program in ("bash", "curl", "openssl"):
        assert f"`{program}`" in (PROJECT_DIR / "CONTRIBUTING.md").read_text(encoding="utf-8")
        assert shutil.which(program), f"the documents use {program}, so tests need it: install it"


# how they are read


def test_takes_lines_together_that_bash_takes_together() -> None:
    text = "first \\\n  more\nfor x in a; do\n  echo $x\ndone   # note\n\nx='a\nb'\nlast {a,b}\n"
    commands = [each.text for each in block(text).commands()]
    assert commands == ["first \\\n  more", "for x in a; do\n  echo $x\ndone   # note", "x='a\nb'", "last {a,b}"]


def test_takes_what_follows_a_command_as_what_it_prints() -> None:
    text = "$ first -d '{\n    }'\nprinted\n[…]\n$ second   # fails\n"
    first, second = block(text, "console").commands()
    assert (first.text, first.shown, first.is_to_fail) == ("first -d '{\n    }'", ("printed", "[…]"), False)
    assert (second.text, second.shown, second.is_to_fail) == ("second   # fails", (), True)
    assert second.line == first.line + 4


@pytest.mark.parametrize("reason", ["", "because", "needs root:", "needs root: ", "needs a rest"])
def test_refuses_a_reason_that_says_nothing(reason: str) -> None:
    marked = block("useradd x\n", before=f"<!-- not run: {reason} -->")
    assert marked.reason is not None
    assert not marked.has_known_reason


def test_takes_only_the_marker_right_before_a_block() -> None:
    first, second = blocks("<!-- not run: needs root: x -->\n```sh\na\n```\n\n```sh\nb\n```\n")
    assert (first.reason, second.reason) == ("needs root: x", None)
    assert first.has_known_reason


@pytest.mark.parametrize(
    ("command", "mistake"),
    [
        ("hostwright frob", "frob"),
        ("X=$(hostwright list --frob)", "--frob"),
        ("hostwright customer set acme --instances many", "integer"),
        ("make frob", "frob"),
        ("make test FROB=1", "FROB"),
        ("ansible-playbook playbooks/frob.yml", "playbooks/frob.yml"),
        ("ansible-playbook playbooks/phases/{wait_for_ip,frob}.yml", "frob"),
        ("ansible-playbook playbooks/provision.yml --tags wait-for-ip,frob", "frob"),
        ("ansible-playbook playbooks/provision.yml --frob", "--frob"),
        ("python -m orchestrator.frob up", "orchestrator.frob"),
    ],
)
def test_finds_a_mistake(command: str, mistake: str) -> None:
    assert any(mistake in each for each in find_mistakes(command))


# how what they print is compared

SERVER, OTHER = "6f1cd694-1abb-412b-96b8-1eb5111bab1e", "bef91701-8632-43c8-8040-07b0dd94f9a8"


def test_learns_the_names_that_differ_from_run_to_run() -> None:
    shown = [f"server   {SERVER}", "mc-vanilla-5000  ready  0.01 s", "[…]", "at 127.0.16.1:5000"]
    printed = [f"server {OTHER}  ", "", "mc-vanilla-5042  ready  2.70 s", "anything", "at 127.7.16.9:5000"]
    names = learn(shown, printed)
    assert names == {SERVER: OTHER, "5000": "5042", "127.0.16.1": "127.7.16.9"}
    command = f"show 5000 {SERVER} http://127.0.16.1:5000/ mc-vanilla-5000.lab 15000"
    assert rename(command, names) == f"show 5042 {OTHER} http://127.7.16.9:5000/ mc-vanilla-5042.lab 15000"


@pytest.mark.parametrize("printed", [[], ["b", "a"], ["a", "x", "b"], ["a"]])
def test_names_the_line_that_is_not_printed(printed: list[str]) -> None:
    with pytest.raises(DifferenceError, match="the page shows"):
        learn(["a", "b"], printed)


def test_passes_over_what_the_page_leaves_out() -> None:
    assert learn(["a", "[…]", "b"], ["a", "x", "y", "b", "c"]) == {}
