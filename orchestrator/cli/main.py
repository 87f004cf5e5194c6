"""The program `hostwright`: joins the commands, and turns errors into sentences and exit codes."""

import os
import signal
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli.admin import audit, backups, customers, doctor, setup, tokens
from orchestrator.cli.client import servers
from orchestrator.cli.printing import accept_any_text
from orchestrator.cli.run import commands as run
from orchestrator.domain.errors import HostwrightError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Order game servers and dev containers on Proxmox VE, and watch them become reachable.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"hostwright {version('hostwright')}")
        raise typer.Exit


@app.callback()
def _take_options(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and end.")
    ] = False,
) -> None:
    """Take the options of the program itself."""


for each in (run, setup, doctor, servers, backups):
    app.add_typer(each.app)
app.add_typer(tokens.app, name="token", rich_help_panel="Administration")
app.add_typer(audit.app, name="audit", rich_help_panel="Administration")
app.add_typer(customers.app, name="customer", rich_help_panel="Administration")


def main() -> None:
    """Run the program. An error of ours is one sentence and exit code 1; Ctrl-C ends with 130."""
    accept_any_text()
    try:
        app()
    except HostwrightError as error:
        _end_with(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except UnicodeError as error:
        _end_with(f"what was given holds characters that cannot be used here: {error}")
    except OSError as error:
        if error.filename is None:
            raise
        _end_with(f"{error.filename} cannot be used: {error.strerror}")


def _end_with(sentence: str) -> NoReturn:
    Console(stderr=True, highlight=False).print(f"[red]error:[/] {escape(sentence)}", soft_wrap=True)
    sys.exit(1)
