"""Operations on a terminal, live with a line for each phase; without a terminal, as plain lines."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Thread
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.measure import Measurement
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.cli.client.api import Client
from orchestrator.cli.client.facts import TROUBLES, name_order
from orchestrator.cli.printing import print_json, spell_command

FINAL = frozenset({"succeeded", "failed", "cancelled"})
_MARKS = {"ok": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("–", "dim"), "cancelled": ("✗", "yellow")}
_NOT_BEGUN = ("·", "dim")
_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}
_WIDEST = 1000
_POLL_SECONDS = 1.0
"""The length of a long poll. A change is shown at once, a heartbeat after so long."""


class Watch:
    """Follows operations to their end, and shows them while they run."""

    def __init__(self, client: Client, console: Console, *, as_json: bool = False) -> None:
        """Begin with no operation. With `as_json` each change is a line of JSON."""
        self.client = client
        self.console = console
        self._as_json = as_json
        self._live = console.is_terminal and not as_json
        self._latest: dict[str, dict[str, Any]] = {}
        self._said: set[tuple[str, str, str]] = set()

    def __rich__(self) -> RenderableType:
        return Group(*(_render(operation) for operation in self._latest.values()))

    def follow(self, operation_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Wait until every operation has ended. Returns them in the given order."""
        wanted = list(operation_ids)
        for operation_id in wanted:
            self._note(self.client.operation(operation_id))
        if not self._live:
            return self._follow_all(wanted)
        with Live(self, console=self.console, refresh_per_second=8):
            return self._follow_all(wanted)

    def _follow_all(self, operation_ids: list[str]) -> list[dict[str, Any]]:
        """Follow each in a thread of its own. No thread is waited for, so that a signal ends the watch at once."""
        ends: SimpleQueue[Exception | None] = SimpleQueue()
        for operation_id in operation_ids:
            Thread(target=self._follow_one, args=(operation_id, ends), daemon=True).start()
        for _ in operation_ids:
            error = ends.get()
            if error is not None:
                raise error
        return [self._latest[operation_id] for operation_id in operation_ids]

    def _follow_one(self, operation_id: str, ends: "SimpleQueue[Exception | None]") -> None:
        try:
            while self._latest[operation_id]["status"] not in FINAL:
                self._note(self.client.operation(operation_id, wait=_POLL_SECONDS))
        except Exception as error:  # noqa: BLE001  # it is raised where the watch is waited for
            ends.put(error)
        else:
            ends.put(None)

    def _note(self, operation: dict[str, Any]) -> None:
        before = self._latest.get(operation["operationId"], {})
        self._latest[operation["operationId"]] = operation
        if self._as_json:
            if {**before, "heartbeatAt": None} != {**operation, "heartbeatAt": None}:
                print_json(operation, line=True)
        elif not self._live:
            self._print_news(operation)

    def _print_news(self, operation: dict[str, Any]) -> None:
        waits = _describe_wait(operation)
        if waits and (operation["operationId"], "queue", waits) not in self._said:
            self._said.add((operation["operationId"], "queue", waits))
            self._print(_make_headline(operation).append(f": {waits}"))
        for phase in operation["phases"]:
            fact = (operation["operationId"], phase["name"], phase["status"])
            if phase["status"] in ("ok", "failed", "cancelled") and fact not in self._said:
                self._said.add(fact)
                self.console.print(
                    f"{operation['hostname'] or operation['ctype']}  {phase['name']}: {phase['status']}"
                    f"  {_seconds(phase['durationMs'])}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
        if operation["status"] in FINAL:
            self._print(_make_headline(operation), *_describe_outcome(operation))

    def _print(self, *lines: RenderableType) -> None:
        for line in lines:
            self.console.print(line, soft_wrap=True)


def _render(operation: dict[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=2)
    table.add_column(min_width=30)
    table.add_column(justify="right", min_width=9)
    table.add_column()
    for phase in operation["phases"]:
        table.add_row(*_phase_row(phase))
    waits = _describe_wait(operation)
    above = [_make_headline(operation), *([Text(waits, style="dim")] if waits else [])]
    return Group(*above, table, *_describe_outcome(operation), Text(""))


def _phase_row(phase: dict[str, Any]) -> tuple[RenderableType, ...]:
    retries = Text(f"asked {phase['retries']} times" if phase["retries"] else "", style="dim")
    if phase["status"] == "running":
        elapsed = _since(phase["startedAt"])
        return Spinner("line", style="cyan"), Text(phase["name"], style="bold cyan"), Text(f"{elapsed:.1f} s"), retries
    mark, style = _MARKS.get(phase["status"], _NOT_BEGUN)
    return Text(mark, style=style), Text(phase["name"], style=style), Text(_seconds(phase["durationMs"])), retries


def _make_headline(operation: dict[str, Any]) -> Text:
    name = operation["hostname"] or operation["ctype"]
    what = f"{operation['kind']} {name_order(operation)}"
    line = Text.assemble(
        (str(name), "bold"), f"  {what}  ", (operation["status"], _STYLES.get(operation["status"], "cyan"))
    )
    if operation["startedAt"]:
        until = operation["finishedAt"]
        line.append(f"  {_since(operation['startedAt'], until):.1f} s")
        if until is None and operation["heartbeatAt"]:
            line.append(f"  heartbeat {_since(operation['heartbeatAt']):.1f} s ago", style="dim")
    return line


def _describe_wait(operation: dict[str, Any]) -> str | None:
    """Say where in the queue an operation waits, and why."""
    place = f"number {operation['queuePosition']} in the queue" if operation["queuePosition"] else None
    return ", ".join(filter(None, (place, operation.get("queueReason")))) or None


_UNDONE = {"provision": "cleaned up: nothing is left", "start": "the server is as it was before"}


def _describe_outcome(operation: dict[str, Any]) -> list[RenderableType]:
    """Say why an operation failed, and what became of what it had made."""
    lines: list[RenderableType] = []
    error, cleanup = operation["error"], operation["cleanup"]
    if error:
        where = f" at {error['phase']}" if error["phase"] else ""
        lines.append(Text(f"{error['code']}{where}: {error['message']}", style="red"))
        if operation["status"] == "failed":
            lines.append(Text(f"operation {operation['operationId']}", style="dim"))
    if cleanup and cleanup["leaked"]:
        lines.append(Text(f"left behind, tried again by itself: {', '.join(cleanup['leaked'])}", style="red"))
    if "retry" in operation["links"]:
        lines.append(Text(f"kept for a look: {spell_command('retry', operation['operationId'])}", style="yellow"))
        lines.append(Text(f"or, when you are done: {spell_command('delete', str(operation['vmid']))}", style="yellow"))
    elif cleanup and not cleanup["leaked"]:
        lines.append(Text(_UNDONE.get(operation["kind"], "nothing was changed"), style="dim"))
    return lines


def instances_table(instances: list[dict[str, Any]], *, customers: bool = False) -> Table:
    """Make a table of instances, with whose they are if `customers`. Its first columns are what other commands take
    for a server."""
    table = Table("server", "name", "type", "what", "status", header_style="bold", box=None)
    if customers:
        table.add_column("customer")
    told = [name for name, tell in TROUBLES.items() if any(tell(item) for item in instances)]
    for name in told:
        table.add_column(name)
    for item in instances:
        first = [str(item["vmid"] or item["serverId"]), item["hostname"] or "-", item["ctype"], name_order(item)]
        cells = [*first, item["status"], *([item["customerId"]] if customers else [])]
        cells += [TROUBLES[name](item) for name in told]
        table.add_row(*map(escape, cells))
    return table


def print_whole(console: Console, table: Table) -> None:
    """Print a table without cutting anything off, so that ids can be given to the next command.

    A terminal that is too narrow breaks its lines.
    """
    for column in table.columns:
        column.no_wrap = True
    width = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    wide = Console(file=console.file, width=max(console.width, width), force_terminal=console.is_terminal)
    wide.print(table)


def _seconds(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:.2f} s"


def _since(start: str, end: str | None = None) -> float:
    until = datetime.fromisoformat(end).timestamp() if end else time.time()
    return max(0.0, until - datetime.fromisoformat(start).astimezone(UTC).timestamp())
