"""The demonstration: runs everything on one machine, places two orders, and joins a game as a player would."""

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import dns.resolver
import httpx
import psutil
from rich.console import Console

from orchestrator.cli.client.api import Client
from orchestrator.cli.client.display import Watch
from orchestrator.cli.client.facts import describe_reach
from orchestrator.cli.printing import spell_command
from orchestrator.cli.run.stack import Stack
from orchestrator.domain.errors import HostwrightError
from orchestrator.drivers.players import minecraft
from orchestrator.settings import Settings
from orchestrator.store.embedded import make_enterable

_ORDERS: tuple[dict[str, Any], ...] = (
    {"ctype": "game", "variant": "vanilla", "version": "1.21.7"},
    {"ctype": "dev", "runtime": "python", "version": "3.12"},
)


class _Interrupted(Exception):
    """A signal asked the program to end."""


def serve_stack(settings: Settings, speed: float, guests: str, console: Console, given: Collection[str]) -> None:
    """Run all parts until Ctrl-C, or until one of them ends. `given` are the settings that were given as options."""
    everything = Stack(settings, speed=speed, guests=guests, say=_print_progress(console), given=given)
    with suppress(_Interrupted), _end_on_signals(console), everything as stack:
        _print_run(console, stack, settings.state_dir)
        console.print("Ctrl-C stops everything.")
        stack.wait()


def run_demo(settings: Settings, *, once: bool, speed: float, guests: str, console: Console) -> None:
    """Order, verify and show. With `once` also tear down, and check that nothing is left.

    Without it the demo before is forgotten. An interrupted demo ends the program with 130.
    """
    base = settings.state_dir
    make_enterable(base)
    state_dir = Path(tempfile.mkdtemp(prefix="demo-", dir=base)) if once else base / "demo"
    if once:
        state_dir.chmod(0o755)  # PostgreSQL's own user must get through; secrets below are 0600 or 0700
    with _remove_at_end(state_dir, once, console):
        shown = _demonstrate(settings.model_copy(update={"state_dir": state_dir}), once, speed, guests, console)
    if once:
        left = [child.pid for child in psutil.Process().children(recursive=True)]
        if left:
            raise HostwrightError(f"processes are left: {left}")
        console.print("[green]✓[/] no process is left")
    if not shown:
        sys.exit(130)


def _demonstrate(settings: Settings, once: bool, speed: float, guests: str, console: Console) -> bool:
    """Run the demo. Returns whether all was shown before somebody interrupted it."""
    shown = False
    everything = Stack(settings, speed=speed, guests=guests, say=_print_progress(console), fresh=True)
    with suppress(_Interrupted), _end_on_signals(console), everything as stack:
        client = Client(stack.run["url"], stack.run["customerToken"])
        _require_no_server(client)
        orders = [client.request("POST", "/api/instances", body=order) for order in _ORDERS]
        done = Watch(client, console).follow([order["operationId"] for order in orders])
        if any(operation["status"] != "succeeded" for operation in done):
            raise HostwrightError(f"an order failed: see {settings.state_dir}/logs/worker.log")
        _join(stack.run["lab"], done[0]["hostname"], settings.state_dir, console)
        if once:
            _tear_down(client, stack, [order["serverId"] for order in orders], console)
            return True
        _print_run(console, stack, settings.state_dir)
        _print_reach(console, client)
        shown = True
        console.print("Ctrl-C stops everything.")
        stack.wait()
    return shown


def _require_no_server(client: Client) -> None:
    """Raise HostwrightError when the database, which is then not the demo's own, has servers of an earlier demo."""
    if client.request("GET", "/api/instances?limit=1")["instances"]:
        raise HostwrightError(
            "the database that HOSTWRIGHT_DATABASE_URL names has servers of an earlier demo, whose lab is gone: "
            "unset it, so that each demo begins anew, or name an empty database"
        )


def _print_reach(console: Console, client: Client) -> None:
    for instance in client.pages("/api/instances?limit=200", "instances"):
        for name, value in describe_reach(instance):
            console.print(f"{name:15} {value}", markup=False, soft_wrap=True)


def _join(lab: dict[str, Any], hostname: str, state_dir: Path, console: Console) -> None:
    """Resolve the SRV record at the public name server and ask the proxy for the server's status."""
    site = json.loads((state_dir / "lab" / "site.json").read_text())
    name = f"{hostname}.{next(p['zone'] for p in site['dns'] if p['name'] == 'cloudflare')}"
    address, port = lab["publicDns"].rsplit(":", 1)
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [address], int(port)
    srv = resolver.resolve(f"_minecraft._tcp.{name}", "SRV")[0]
    target = str(srv.target).rstrip(".")
    edge = str(resolver.resolve(target, "A")[0])
    status = minecraft.ping(edge, srv.port, hostname=target)
    console.print(f"[green]✓[/] SRV _minecraft._tcp.{name} → {target}:{srv.port} → {edge}", soft_wrap=True)
    console.print(
        f"[green]✓[/] joined through the proxy: Minecraft {status.version}, "
        f"{status.players_online}/{status.players_max} players, “{status.description}”, {status.latency_ms:.1f} ms",
        soft_wrap=True,
    )


def _tear_down(client: Client, stack: Stack, server_ids: list[str], console: Console) -> None:
    teardowns = [client.request("DELETE", f"/api/instances/{server_id}") for server_id in server_ids]
    done = Watch(client, console).follow([teardown["operationId"] for teardown in teardowns])
    if any(operation["status"] != "succeeded" for operation in done):
        raise HostwrightError(f"a teardown failed: see {stack.settings.state_dir}/logs/worker.log")
    inventory = httpx.get(f"{stack.run['lab']['controlUrl']}/inventory", trust_env=False).json()
    left = {
        "containers": [found for found in inventory["containers"] if not found["template"]],
        "DNS records": inventory["records"],
        "proxy registrations": inventory["registrations"] + inventory["routes"] + inventory["entryPoints"],
        "guest processes": inventory["processes"],
        "active VMIDs": client.request("GET", "/api/instances")["instances"],
    }
    for what, found in left.items():
        if found:
            raise HostwrightError(f"{what} are left: {found}")
        console.print(f"[green]✓[/] no {what} left")


def _print_run(console: Console, stack: Stack, state_dir: Path) -> None:
    run = stack.run
    console.print(f"API             {run['url']}  (document: {run['url']}/openapi.json)", soft_wrap=True)
    console.print(f"operator token  {run['operatorToken']}")
    console.print(f"customer token  {run['customerToken']}")
    console.print(f"lab control     {run['lab']['controlUrl']}/inventory")
    console.print(f"state           {state_dir}", soft_wrap=True)
    command = spell_command("list", "--state-dir", str(state_dir.absolute()))
    console.print(f"try it          {command}", markup=False, soft_wrap=True)


def _print_progress(console: Console) -> Any:
    return lambda line: console.print(f"[dim]starting: {line}[/]")


@contextmanager
def _remove_at_end(state_dir: Path, remove: bool, console: Console) -> Iterator[None]:
    """Remove the state directory, unless the block fails. Then it is kept, with the logs that the error names."""
    try:
        yield
    except Exception:
        if remove:
            console.print(f"kept: {state_dir}", markup=False, soft_wrap=True)
        raise
    if remove:
        shutil.rmtree(state_dir, ignore_errors=True)


@contextmanager
def _end_on_signals(console: Console) -> Iterator[None]:
    """End the block in an orderly way on SIGINT and SIGTERM, and raise _Interrupted after it."""

    def leave(number: int, frame: FrameType | None) -> None:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)
        raise _Interrupted

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except _Interrupted:
        console.print("stopped")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
