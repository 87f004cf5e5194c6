"""ansible-playbook without its start-up: a process that has imported Ansible forks a child for each run.

Most of a short run's time goes into importing Ansible and reading its own tables. The child is a whole ansible-playbook
all the same, with its own arguments, environment, directory and output. What Ansible reads while it is imported, every
variable ANSIBLE_*, is the same for all runs of one server.
"""

import atexit
import functools
import importlib
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PRELOADED = (
    "ansible.cli.playbook", "ansible.executor.playbook_executor", "ansible.plugins.strategy.linear",
    "ansible_collections.ansible.builtin", "proxmoxer", "requests",
)  # fmt: skip


def run_playbook(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook to its end, by the server for what its environment says to Ansible."""
    settings = {name: value for name, value in environment.items() if name.startswith("ANSIBLE_")}
    return _server(tuple(sorted(settings.items()))).run(arguments, environment, directory)


@functools.cache
def _server(settings: tuple[tuple[str, str], ...]) -> "AnsibleServer":
    server = AnsibleServer(os.environ | dict(settings))
    atexit.register(server.stop)
    return server


class AnsibleServer:
    """The process, which ends with the one that has started it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it. It takes requests once it has imported Ansible; until then they wait."""
        self._home = tempfile.TemporaryDirectory(prefix="hostwright-ansible-")
        self._address = str(Path(self._home.name) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            listener.listen()
            arguments = (listener.fileno(), os.getpid())
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, *map(str, arguments)], pass_fds=[listener.fileno()],
                cwd=Path(__file__).parents[2], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._home.cleanup()

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: Path
    ) -> subprocess.CompletedProcess[str]:
        with (
            tempfile.NamedTemporaryFile("r", dir=self._home.name) as output,
            tempfile.NamedTemporaryFile("r", dir=self._home.name) as errors,
            socket.socket(socket.AF_UNIX) as connection,
        ):
            connection.connect(self._address)
            request = {
                "arguments": ["ansible-playbook", *arguments],
                "environment": dict(environment),
                "directory": str(directory),
                "outputs": [output.name, errors.name],
            }
            with connection.makefile("rw") as lines:
                lines.write(json.dumps(request) + "\n")
                lines.flush()
                child = int(lines.readline())
                try:
                    code = int(lines.readline() or -signal.SIGKILL)
                except BaseException:  # a test that takes too long
                    os.kill(child, signal.SIGKILL)
                    raise
            return subprocess.CompletedProcess(arguments, code, output.read(), errors.read())


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Forks a child for each connection, until the process that has started it is gone."""

    block_on_close = False

    def __init__(self, listener: socket.socket, parent: int) -> None:
        super().__init__(listener.getsockname(), Run, bind_and_activate=False)
        self.socket.close()
        self.socket, self._parent = listener, parent

    def service_actions(self) -> None:
        super().service_actions()
        if os.getppid() != self._parent:
            sys.exit()


class Run(socketserver.StreamRequestHandler):
    """One run, in its child: a line of JSON asks for it, the answers are its process id and its exit code."""

    server: Server

    def handle(self) -> None:
        from ansible.cli.playbook import main

        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.server.socket.close()
        self.wfile.write(b"%d\n" % os.getpid())
        request = json.loads(self.rfile.readline())
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        for target, path in enumerate([os.devnull, *request["outputs"]]):
            os.dup2(os.open(path, os.O_WRONLY if target else os.O_RDONLY), target)
        code = 0
        try:
            main(request["arguments"])
        except SystemExit as ended:
            code = int(ended.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        self.wfile.write(b"%d\n" % code)


def serve(listener: socket.socket, parent: int) -> None:
    """Import Ansible and take requests, for the process that has started this one."""
    from ansible import cli
    from ansible.plugins.loader import init_plugin_loader

    # It makes collections importable, and a second call, the child's own, would warn.
    init_plugin_loader()
    cli.init_plugin_loader = lambda *_: None
    for name in PRELOADED:
        importlib.import_module(name)
    with Server(listener, parent) as server:
        server.serve_forever()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
