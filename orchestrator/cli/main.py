"""The program `hostwright`: joins the commands, and turns errors into sentences and exit codes."""

import os
import signal
import sys
from contextlib import suppress

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli.admin import audit, backups, customers, doctor, setup, tokens
from orchestrator.cli.client import servers
from orchestrator.cli.run import commands as run
from orchestrator.domain.errors import HostwrightError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Order game servers and dev containers on Proxmox VE, and watch them become reachable.",
)
for each in (run, setup, doctor, servers, backups):
    app.add_typer(each.app)
app.add_typer(tokens.app, name="token", rich_help_panel="Administration")
app.add_typer(audit.app, name="audit", rich_help_panel="Administration")
app.add_typer(customers.app, name="customer", rich_help_panel="Administration")


def main() -> None:
    """Run the program. An error of ours is one sentence and exit code 1; Ctrl-C ends with 130."""
    try:
        app()
    except HostwrightError as error:
        Console(stderr=True, highlight=False).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
