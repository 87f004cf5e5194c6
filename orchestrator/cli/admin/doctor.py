"""`hostwright doctor`: looks for what keeps orders from being carried out by this machine, and says what to do."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.domain.errors import ConfigurationError, HostwrightError
from orchestrator.settings import Settings, load_settings

app = typer.Typer()
console = Console(highlight=False)


@dataclass(frozen=True)
class Finding:
    """What one check found. `message` says what is wrong and what to do, and is None when nothing is."""

    name: str
    message: str | None
    warning: bool = False
    """Whether orders are carried out all the same."""

    @property
    def is_ok(self) -> bool:
        """Whether nothing keeps orders from being carried out."""
        return self.message is None or self.warning


class Warned(HostwrightError):
    """A check found something that should be mended, though orders are carried out."""


@app.command(rich_help_panel="Administration")
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check what a worker on this machine needs. It changes nothing, and ends with 1 when something is wrong.

    A warning is of something that should be mended, though orders are carried out.
    """
    settings = load_settings()
    findings = [_check(name, settings, check) for name, check in CHECKS.items()]
    well = all(finding.is_ok for finding in findings)
    if as_json:
        checks = [asdict(finding) | {"ok": finding.is_ok} for finding in findings]
        typer.echo(json.dumps({"ok": well, "checks": checks}, indent=2))
    else:
        for finding in findings:
            console.print(f"{finding.name:<10} {_describe(finding)}", soft_wrap=True)
    if not well:
        raise typer.Exit(1)


def _describe(finding: Finding) -> str:
    if finding.message is None:
        return "[green]ok[/]"
    return f"{'[yellow]warning[/]' if finding.warning else '[red]wrong[/]'}  {escape(finding.message)}"


def _check(name: str, settings: Settings, check: Callable[[Settings], None]) -> Finding:
    try:
        check(settings)
    except Warned as warned:
        return Finding(name, str(warned), warning=True)
    except HostwrightError as error:
        return Finding(name, " ".join(str(error).split()))
    return Finding(name, None)


def _check_database(settings: Settings) -> None:
    from orchestrator.store.embedded import resolve_url
    from orchestrator.store.migrations import require_current

    require_current(resolve_url(settings))


def _check_inventory(settings: Settings) -> None:
    from orchestrator.play.inventory import load_catalogue, read_variables, require_filled

    require_filled(settings.inventory)
    load_catalogue(settings.catalogue_path)
    read_variables(settings)


def _check_secrets(settings: Settings) -> None:
    from orchestrator.drivers.secrets import read_secrets
    from orchestrator.play.inventory import find_problems, read_hosts, read_variables

    secrets = read_secrets(settings.secrets_path)
    if problems := find_problems(read_variables(settings), secrets, read_hosts(settings)):
        raise ConfigurationError("; ".join(problems))


def _check_runs(settings: Settings) -> None:
    from orchestrator.play.selftest import self_test

    self_test(settings)


def _check_workers(settings: Settings) -> None:
    from orchestrator.cli.admin.database import open_database
    from orchestrator.store import sweep

    with open_database(settings) as database:
        if not sweep.live_workers(database):
            raise ConfigurationError(
                "no worker that can work was seen lately: start `hostwright worker`, or read its log"
            )


def _read_plain(settings: Settings, name: str) -> dict[str, Any]:
    """Read a variable that says where to ask. Raises Warned when it is incomplete or wrong, or only a play knows it."""
    from orchestrator.play.forms import find_wrong_forms
    from orchestrator.play.inventory import NEEDED, PLACEHOLDER, read_variables

    value = read_variables(settings).get(name)
    complete = isinstance(value, dict) and set(NEEDED[name]) <= value.keys() and PLACEHOLDER not in json.dumps(value)
    if not isinstance(value, dict) or not complete:
        raise Warned(
            f"nobody could be asked: {name} is not complete in the inventory; `hostwright check` says what lacks"
        )
    if "{{" in json.dumps(value):
        raise Warned(f"nobody could be asked: {name} has templates, whose values only a play knows")
    if wrong := list(find_wrong_forms({name: value}, PLACEHOLDER)):
        raise Warned(f"nobody could be asked: {'; '.join(wrong)}")
    return value


def _check_templates(settings: Settings) -> None:
    from orchestrator.drivers.proxmox.template import find_trouble
    from orchestrator.drivers.result import PhaseError

    templates, proxmox = _read_plain(settings, "hostwright_templates"), _read_plain(settings, "hostwright_proxmox")
    lasting: list[str] = []
    passing: list[str] = []
    for vmid in sorted({int(each) for each in templates.values()}):
        try:
            trouble = find_trouble(proxmox, settings.secrets_path, vmid)
        except PhaseError as error:
            raise ConfigurationError(error.message) from error
        if trouble is not None:
            (passing if trouble[1] else lasting).append(f"template {vmid} {trouble[0]}")
    if lasting:
        raise ConfigurationError("; ".join(lasting + passing))
    if passing:
        raise Warned("; ".join(passing))


def _check_agents(settings: Settings) -> None:
    from orchestrator.cli.admin.database import open_database
    from orchestrator.drivers.agent.weakness import find_weakness
    from orchestrator.drivers.result import PhaseError
    from orchestrator.store.reads import newest_ready

    with open_database(settings) as database:
        newest = newest_ready(database)
    if not newest:
        return
    agent, found = _read_plain(settings, "hostwright_agent"), []
    for server in newest:
        try:
            weakness = find_weakness(str(server.address), agent, settings.secrets_path, str(server.id))
        except PhaseError as error:
            raise ConfigurationError(error.message) from error
        if weakness:
            found.append(f"the agent of {server.hostname}, the newest {server.ctype} server, {weakness}")
    if found:
        raise Warned("; ".join(found))


CHECKS: dict[str, Callable[[Settings], None]] = {
    "database": _check_database,
    "inventory": _check_inventory,
    "secrets": _check_secrets,
    "self-test": _check_runs,
    "templates": _check_templates,
    "workers": _check_workers,
    "agents": _check_agents,
}
"""The checks by name, in their order. Each raises a HostwrightError with cause and remedy."""
