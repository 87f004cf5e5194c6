"""The shell commands that the documents print, as a reader would copy them.

A block ```sh holds commands alone, and ```console also what they print: a command begins with `$ `. A command that is
to fail says so in a comment, `# fails`. A block that cannot be run by a test has a comment right before it,
`<!-- not run: REASON -->`, whose reason is one of REASONS; a colon and more words may follow.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.settings import PROJECT_DIR

SHELL_LABELS = {"sh", "console"}
OTHER_LABELS = {"text", "json", "yaml", "toml", "mermaid", "nginx"}
REASONS = {
    "needs root": "it changes the machine, or starts containers",
    "needs a Proxmox node": "its commands are those of Proxmox VE",
    "needs the package index": "it installs or locks dependencies",
    "takes minutes": "CI or a person runs it",
}
GAP = "[…]"
"""In what a command prints: here something is left out."""

_BLOCK = re.compile(r"^(?P<before>[^\n]*)\n```(?P<label>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_MARKER = re.compile(r"<!-- not run: ?(?P<reason>.*?) ?-->")


def find_pages() -> list[Path]:
    """Every document for users and developers, in the order in which one meets them."""
    root, folders = (
        PROJECT_DIR,
        ("docs/*.md", "docs/adr/*.md", "agent/*.md", "inventory/*/README.md", "roles/*/README.md"),
    )
    return [
        root / "README.md",
        root / "CONTRIBUTING.md",
        *(page for each in folders for page in sorted(root.glob(each))),
    ]


@dataclass(frozen=True)
class Command:
    """One command with the lines that the page shows below it."""

    text: str
    line: int
    shown: tuple[str, ...] = ()

    @property
    def is_to_fail(self) -> bool:
        return re.search(r"# fails\b", self.text) is not None


@dataclass(frozen=True)
class Block:
    """One code block; `reason` says why it cannot be run, and is None without a marker."""

    page: Path
    line: int
    label: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(PROJECT_DIR)}:{self.line}"

    @property
    def has_known_reason(self) -> bool:
        kind, colon, more = (self.reason or "").partition(":")
        return kind in REASONS and bool(more.strip()) == bool(colon)

    def commands(self) -> list[Command]:
        """The commands of a shell block, each with all its lines."""
        return list(_console(self) if self.label == "console" else _plain(self))


def find_blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in its order."""
    return parse_blocks(page, page.read_text(encoding="utf-8"))


def parse_blocks(page: Path, text: str) -> list[Block]:
    """The code blocks of a page that has this text."""
    return [_block(page, text, found) for found in _BLOCK.finditer(text)]


def _block(page: Path, text: str, found: re.Match[str]) -> Block:
    marker = _MARKER.fullmatch(found["before"])
    line = text.count("\n", 0, found.start("text")) + 1
    return Block(page, line, found["label"], found["text"], marker["reason"] if marker else None)


def _plain(block: Block) -> Iterator[Command]:
    waiting: list[str] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        waiting.append(line)
        if _is_whole(waiting):
            if (text := "\n".join(waiting)).strip():
                yield Command(text, number - len(waiting) + 1)
            waiting = []
    assert not waiting, f"{block}: a command does not end"


def _console(block: Block) -> Iterator[Command]:
    waiting: list[str] = []
    shown: list[str] = []
    begun = block.line
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            if waiting:
                yield Command("\n".join(waiting), begun, tuple(shown))
            waiting, shown, begun = [line.removeprefix("$ ")], [], number
        elif waiting and not _is_whole(waiting):
            waiting.append(line)
        else:
            assert waiting, f"{block}: it does not begin with a command"
            shown.append(line)
    yield Command("\n".join(waiting), begun, tuple(shown))


def _is_whole(lines: list[str]) -> bool:
    """Whether bash would run the lines, and not ask for more."""
    if lines[-1].endswith("\\"):
        return False
    plain = not re.search(r"""["'`<({]|\b(for|while|if|do|then)\b""", "\n".join(lines))
    text = "\n".join(lines) + "\n"
    return (
        plain or subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False).returncode == 0
    )
