"""A network of machines on one kernel, made of namespaces. This process is the data centre and the router between them.

A machine has a network, processes, a host name and a /dev/shm of its own. Its only link leads to the router. The lab
stays on the router's loopback addresses, which the machines reach through the router: route_localnet is on, and the
rule of the local addresses comes after the rules that cut. Everything belongs to processes that end with this one, and
no namespace has a name, so nothing can be left behind.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from orchestrator.processes import die_with_parent
from tests.chaos.customer import BrokenError

_CLONE_NEWNET = 0x40000000
"""unshare(2)"""
_LOCAL_RULE, _CUT_RULE = 100, 10
"""Preferences of ip-rule(8). The lower one is applied first."""
LAB = "127.0.0.0/8"
Way = Literal["to", "from", "both"]
"""Which packets are lost, as the machine sees it."""


class Machine:
    """One machine: namespaces that an idle process holds, which also reaps orphaned processes."""

    _BOOT = (
        'echo "$0" > /proc/sys/kernel/hostname && mount -t tmpfs tmpfs /dev/shm && trap "" CHLD && echo up '
        "&& exec sleep infinity"
    )

    def __init__(self, name: str, number: int) -> None:
        """Boot the machine and lay its link. `number` gives its addresses. It ends with the thread that calls this."""
        self.name = name
        self.address, self._gateway = f"10.77.{number}.2", f"10.77.{number}.1"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc",
             "sh", "-c", self._BOOT, name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )  # fmt: skip
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"up\n":
            raise RuntimeError(f"machine {name} does not boot")
        self.pid = int(Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text())
        self._lay_link()

    def enter(self, *namespaces: str) -> list[str]:
        """The beginning of a command line that runs in this machine, in all of its namespaces or only in these."""
        return ["nsenter", f"--target={self.pid}", *(namespaces or ("--net", "--mount", "--uts", "--pid")), "--"]

    @property
    def run_directories(self) -> list[str]:
        """The names of the run directories in the machine's /dev/shm."""
        return [one.name for one in Path(f"/proc/{self.pid}/root/dev/shm").glob("hostwright-run-*")]

    def set_link(self, state: Literal["up", "down"]) -> None:
        """Plug the machine's cable in, or pull it."""
        _ip("link", "set", self.name, state)

    def stop(self) -> None:
        """End the machine with everything that runs in it."""
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    def _lay_link(self) -> None:
        _ip("link", "add", self.name, "type", "veth", "peer", "name", "up0", "netns", str(self.pid))
        _ip("addr", "add", f"{self._gateway}/30", "dev", self.name)
        self.set_link("up")
        inside = self.enter("--net")
        for command in (
            f"addr add {self.address}/30 dev up0",
            "addr add 127.0.0.1/32 dev lo",  # this one alone, because the other 127.0.0.0/8 are the lab's
            "link set up0 up",
            "link set lo up",
            "addr del 127.0.0.1/8 dev lo",
            f"route add default via {self._gateway}",
            f"route add {LAB} via {self._gateway} src {self.address}",
        ):
            _run(*inside, "ip", *command.split())
        _run(*inside, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet")


def become_router() -> None:
    """Give this process, and everything it starts from now on, a network of its own.

    Call it before a second thread is started. Raises OSError without the right to do so.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _ip("link", "set", "lo", "up")
    for name in ("ip_forward", "conf/all/route_localnet"):
        Path(f"/proc/sys/net/ipv4/{name}").write_text("1")
    _ip("rule", "add", "pref", str(_LOCAL_RULE), "lookup", "local")
    _ip("rule", "del", "pref", "0")


@contextmanager
def cut(machine: Machine, other: str, way: Way = "both") -> Iterator[None]:
    """Lose the packets between this machine and an address or network, without a word to either."""
    with ExitStack() as healing:
        for source, target in _list_ways(machine.address, other, way):
            rule = ("pref", str(_CUT_RULE), "from", source, "to", target, "blackhole")
            _ip("rule", "add", *rule)
            healing.callback(_ip, "rule", "del", *rule)
        yield


@contextmanager
def unplug(machine: Machine) -> Iterator[None]:
    """Pull the machine's cable meanwhile."""
    machine.set_link("down")
    try:
        yield
    finally:
        machine.set_link("up")


def _list_ways(machine: str, other: str, way: Way) -> list[tuple[str, str]]:
    ways = {"to": [(machine, other)], "from": [(other, machine)]}
    return ways[way] if way != "both" else ways["to"] + ways["from"]


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BrokenError(f"{' '.join(command)}: {done.stderr.strip()}")
