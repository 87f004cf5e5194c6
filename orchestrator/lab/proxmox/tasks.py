"""The tasks of the lab's Proxmox, with a real guest behind every container.

They differ from fakepve's: before a task ends, the guest has followed its container's status. DELETE aborts a running
task. An unknown UPID is a 400. A log carries its total.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from fakepve import FakeCt, FakePve, TaskError
from fakepve.lxc import split_props
from fakepve.routing import param_error
from fakepve.server import params

from orchestrator.lab.errors import LabError
from orchestrator.lab.faults import Fault
from orchestrator.lab.guests.driver import Boot, GuestDriver
from orchestrator.lab.proxmox.faults import WARNINGS, ProxmoxFaults

UPID = re.compile(r"UPID:[^:\s]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:[^:\s]+:[^:\s]*:[^:\s]+:")
ABORT_SECONDS = 0.5
"""From the request to abort a task until its worker ends, at speed 1."""

TaskBody = Callable[[], Awaitable[str | None]]


@dataclass
class RunningTask:
    """A task that has not ended, with its container if it has one."""

    run: asyncio.Task[None]
    record: dict[str, Any]
    container: Any


class PveTasks(FakePve):  # type: ignore[misc] # fakepve has no types
    """FakePve whose tasks drive guests."""

    guests: GuestDriver

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._task_runs: dict[str, RunningTask] = {}
        self._aborts: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[None]] = set()
        self.faults = ProxmoxFaults()
        self._guest_locks: dict[int, asyncio.Lock] = {}

    def save(self) -> None:
        """Keep the containers; called whenever they may have changed."""

    # running

    async def task(
        self,
        node: str,
        ttype: str,
        tid: object,
        user: str,
        body: TaskBody,
        vm: Any = None,
        lock: bool = True,
        log: Sequence[str] = (),
    ) -> str:
        """Start a task and return its UPID. At speed 0 the task has ended when this returns."""
        upid, pid, start = self._upid(node, ttype, tid, user)
        record = {"upid": upid, "node": node, "pid": pid, "pstart": pid * 7, "starttime": start}
        record |= {"type": ttype, "id": str(tid), "user": user, "status": "running", "log": list(log)}
        self.tasks[upid] = record
        self.tasklog.append(record)
        run = asyncio.create_task(self._run_task(record, body, vm, lock))
        self._task_runs[upid] = RunningTask(run, record, vm)
        run.add_done_callback(lambda _: self._task_runs.pop(upid, None))
        if not self.time_scale:
            await asyncio.shield(run)
        return str(upid)

    async def _run_task(self, record: dict[str, Any], body: TaskBody, vm: Any, lock: bool) -> None:
        status = "OK"
        fault = self.faults.take_for_task(record["type"])
        if fault is not None and fault.get("message", "").startswith(WARNINGS):
            status, fault = fault["message"], None
        try:
            if vm is not None and lock:
                await self.acquire(vm, record["upid"])
            try:
                note = await self._carry_out(record, body, vm, fault)
                await self._follow(vm)
            finally:
                if vm is not None and lock:
                    self.release(vm, record["upid"])
            if note:
                record["log"].append(note)
        except TaskError as error:
            status = str(error)
            record["log"].append(status)
        self._finish(record, status)

    async def _carry_out(self, record: dict[str, Any], body: TaskBody, vm: Any, fault: Fault | None) -> str | None:
        if fault is not None and fault["error"] == "late":
            late = asyncio.create_task(self._carry_out_later(body, vm, fault["seconds"]))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
            return None
        if fault is not None:
            await self.pause(ABORT_SECONDS)
            self._undo(record, vm)
            raise TaskError(fault["message"])
        if record["type"] == "vzclone":
            try:
                self.guests.clone(int(record["id"]), vm.vmid)
            except OSError as error:
                self._undo(record, vm)
                raise TaskError(f"clone failed: {error}") from error
        return await body()

    async def _carry_out_later(self, body: TaskBody, vm: Any, seconds: float) -> None:
        """As the HA manager does, which takes a request up after its task has ended."""
        await self.faults.delay(seconds)
        with contextlib.suppress(TaskError):
            await body()
        await self._follow(vm)
        self.save()

    def _finish(self, record: dict[str, Any], status: str) -> None:
        well = status == "OK" or status.startswith(WARNINGS)
        record["log"].append(f"TASK {status}" if well else f"TASK ERROR: {status}")
        record.update(status="stopped", exitstatus=status, endtime=int(time.time()))
        self.save()

    # guests

    async def _follow(self, container: Any) -> None:
        """Start or stop the guest as the container's status says. An abort does not interrupt this half-way."""
        if isinstance(container, FakeCt):
            await asyncio.shield(asyncio.create_task(self._match_guest(container)))

    async def _match_guest(self, container: Any) -> None:
        vmid = container.vmid
        async with self._guest_locks.setdefault(vmid, asyncio.Lock()):
            present = container in self.cts
            if not present and self.ct(vmid) is not None:
                return  # another container has the VMID by now
            running = present and container.status == "running"
            guest = self.guests.find(vmid)
            if guest is not None and not (running and guest.boot == container.started_at):
                await self.guests.stop(vmid)
            if running and self.guests.find(vmid) is None:
                await self._boot(container)
            if not present:
                self.guests.remove(vmid)

    async def _boot(self, container: Any) -> None:
        try:
            guest = await self.guests.start(_boot_of(container))
        except (OSError, LabError) as error:
            container.status, container.pid = "stopped", None
            raise TaskError(f"startup for container '{container.vmid}' failed: {error}") from error
        container.pid = guest.pid

    def _note_halt(self, vmid: int, boot: object) -> None:
        """Show a container as stopped that powered itself off."""
        container = self.ct(vmid)
        if container is not None and container.status == "running" and container.started_at == boot:
            container.status, container.pid = "stopped", None
            self.save()

    # aborting

    def _routes_lab_tasks(self) -> list[tuple[str, str, Any]]:
        return [("DELETE", "/nodes/{node}/tasks/{upid}", self._task_delete)]

    async def _task_delete(self, values: dict[str, Any], user: str) -> None:
        task = self._known_task(values["upid"], values["node"])
        if not self._task_owner(user, task):
            self.require(user, f"/nodes/{task['node']}", "Sys.Modify")
        running = self._task_runs.get(task["upid"])
        if running is not None:
            abort = asyncio.create_task(self._abort(running, ABORT_SECONDS))
            self._aborts.add(abort)
            abort.add_done_callback(self._aborts.discard)

    async def _abort(self, running: RunningTask, delay: float = 0.0) -> None:
        await self.pause(delay)
        running.run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running.run
        if running.record["status"] == "running":
            self._undo(running.record, running.container)
            await self._follow(running.container)
            self._finish(running.record, "interrupted by signal")

    def _undo(self, record: dict[str, Any], target: Any) -> None:
        """Undo a clone that failed: remove its target and unlock its source."""
        if record["type"] != "vzclone":
            return
        self._drop(target)
        self.guests.remove(target.vmid)
        source = self.ct(int(record["id"]))
        if source is not None and source.lock == "disk":
            source.lock = None

    async def abort_all_tasks(self) -> None:
        for waiting in (*self._aborts, *self._late):
            waiting.cancel()
        for running in list(self._task_runs.values()):
            await self._abort(running)

    # reading

    def _known_task(self, upid: str, node: str) -> dict[str, Any]:
        if not UPID.fullmatch(upid):
            raise param_error(upid="unable to parse worker upid")
        task: dict[str, Any] | None = self.tasks.get(upid)
        if task is None or task["node"] != node:
            raise param_error(upid="no such task")
        return task

    def _get_task(self, request: web.Request) -> dict[str, Any]:
        self._known_task(request.match_info["upid"], request.match_info["node"])
        return dict(super()._get_task(request))

    async def _task_log(self, request: web.Request) -> web.Response:
        values = self._verify(request, await params(request))
        lines = self._get_task(request)["log"]
        start, limit = values.get("start", 0), values.get("limit", 50)
        chosen = lines[start : start + limit] if limit else lines[start:]
        data = [{"n": start + n, "t": line} for n, line in enumerate(chosen, 1)]
        return web.json_response({"data": data, "total": len(lines)})


def _boot_of(container: Any) -> Boot:
    """What a start needs of a container's configuration; only its first network counts."""
    _, net = split_props(container.config.get("net0", ""))
    static = net.get("ip") not in (None, "dhcp", "manual")
    return Boot(
        vmid=container.vmid,
        number=container.started_at,
        hostname=container.name,
        memory_mib=int(container.config.get("memory", 512)),
        hwaddr=net.get("hwaddr", ""),
        address=net["ip"] if static else None,
        gateway=net.get("gw"),
    )
