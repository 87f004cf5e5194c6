"""What can be said of a command without running it: the program would understand it, and what it names is there."""

import contextlib
import importlib.util
import io
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache

import typer
from ansible.cli.playbook import PlaybookCLI
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from orchestrator.cli.main import app
from orchestrator.domain.phases import PLAYED
from orchestrator.settings import PROJECT_DIR

_OURS = re.compile(r"(?<![\w./-])(?:tests|playbooks|examples|requirements|inventory|docs)/[\w./-]+\w")


def find_mistakes(text: str) -> list[str]:
    """What is wrong in the words of a command; every program that it calls is looked at."""
    mistakes = [f"there is no {path}" for each in _expand(text) for path in _OURS.findall(each) if not _exists(path)]
    for words in _calls(text):
        match words:
            case ["hostwright", *arguments]:
                mistakes += _of_hostwright(arguments)
            case ["make", *arguments]:
                mistakes += _of_make(arguments)
            case ["ansible-playbook", *arguments]:
                mistakes += _of_playbook(arguments)
            case [program, "-m", module, *_] if program.rpartition("/")[2] == "python":
                mistakes += [] if importlib.util.find_spec(module) else [f"there is no module {module}"]
    return mistakes


def _calls(text: str) -> Iterator[list[str]]:
    """The words of every program that a command calls."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace, lexer.whitespace_split = " \t", True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|()<>\n"):
            if words:
                yield words
            words = []
        else:
            words.append(word)


def _exists(path: str) -> bool:
    return (PROJECT_DIR / path).exists()


def _expand(text: str) -> list[str]:
    """A text without braces, as bash expands them: once for each of what stands between them."""
    found = re.search(r"\{([\w,]+,[\w,]+)\}", text)
    if found is None:
        return [text]
    return [
        each for part in found[1].split(",") for each in _expand(text[: found.start()] + part + text[found.end() :])
    ]


def _of_hostwright(arguments: Sequence[str]) -> list[str]:
    """What the program's own parser says of the arguments."""
    command, name, rest = get_command(app), "hostwright", list(arguments)
    try:
        while True:
            context = command.make_context(name, rest)
            if not isinstance(command, TyperGroup):
                return []
            found, below, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            command, name = below or command, str(found)
    except TyperException as error:
        return [str(error)]
    except typer.Exit:
        return []


def _of_make(arguments: Sequence[str]) -> list[str]:
    targets = [word for word in arguments if "=" not in word]
    variables = [word.partition("=")[0] for word in arguments if "=" in word]
    recipes = _recipes()
    mistakes = [f"make has no target {target}" for target in targets if target not in recipes]
    text = "".join(recipes.get(target, "") for target in targets)
    unknown = [name for name in variables if f"$({name})" not in text]
    return mistakes + [f"make {' '.join(targets)} has no {name}=" for name in unknown]


@cache
def _recipes() -> dict[str, str]:
    """The targets of the Makefile that people call, with their recipes."""
    text = (PROJECT_DIR / "Makefile").read_text(encoding="utf-8")
    return {
        found[1]: found[2] for found in re.finditer(r"^([a-z][a-z0-9-]*):.*## .*\n((?:\t.*\n)*)", text, re.MULTILINE)
    }


def _of_playbook(arguments: Sequence[str]) -> list[str]:
    """What Ansible's own parser says, and whether the playbooks have the tags."""
    said = io.StringIO()
    cli = PlaybookCLI(["ansible-playbook", *arguments])
    cli.init_parser()
    try:
        with contextlib.redirect_stderr(said):
            given = cli.parser.parse_args(list(arguments))
    except SystemExit:
        return [said.getvalue()]
    tags = {tag for tags in given.tags for tag in tags.split(",")}
    return [f"no phase has the tag {tag}" for tag in tags - {str(phase) for phase in PLAYED}]
