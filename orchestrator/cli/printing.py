"""What commands print: text for any terminal, JSON, and commands that work as they are printed."""

import codecs
import json
import os
import shlex
import shutil
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any

_PLAIN = {"✓": "+", "✗": "x", "–": "-", "·": ".", "→": "->", "…": "...", "“": '"', "”": '"'}
_ERRORS = "hostwright"


def accept_any_text() -> None:
    """Have plainer characters printed, or a question mark, for those that the encoding of the output lacks."""
    codecs.register_error(_ERRORS, _make_plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _make_plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(each, "?") for each in error.object[error.start : error.end]), error.end


def print_json(data: Any, *, line: bool = False) -> None:
    """Print JSON that any encoding can hold. With `line` it takes one line, as in a stream of them."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(data, ensure_ascii=not unicode, indent=None if line else 2), flush=True)


def spell_command(*arguments: str) -> str:
    """Return a command of this program as it works in a new shell, whatever that has on its PATH."""
    return " ".join([_name_program(), *map(shlex.quote, arguments)])


def _name_program() -> str:
    """Return how the program was called: by its name if the shell found it, and otherwise by its whole path.

    A relative path was given by somebody, such as make, and says nothing about the PATH of the user's shell.
    """
    called = Path(sys.argv[0])
    if called.name != "hostwright" or (called.is_absolute() and shutil.which("hostwright") == str(called)):
        return "hostwright"
    return shlex.quote(os.path.abspath(called))  # noqa: PTH100  # a link of the user's own is kept
