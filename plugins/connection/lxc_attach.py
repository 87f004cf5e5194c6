"""Tasks inside an LXC container of this machine, through lxc-attach: it needs neither network nor SSH in there."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: lxc_attach
short_description: Run tasks in a running LXC container with lxc-attach
description:
  - For root on the machine that runs the container. The lab's containers and molecule's are reached by it.
options:
  remote_addr:
    description: Name of the container.
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
      - name: ansible_lxc_name
  lxc_path:
    description: The directory that holds the container, as lxc-attach takes it with -P.
    default: /var/lib/lxc
    vars:
      - name: ansible_lxc_path
  executable:
    description: The shell that runs the commands.
    default: /bin/sh
    vars:
      - name: ansible_executable
"""

# As a login on Debian has it; nothing of our own environment, which may hold secrets, goes in.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Connection(ConnectionBase):  # type: ignore[misc]  # ansible has no types
    transport = "lxc_attach"
    has_pipelining = True

    def _connect(self) -> Connection:
        if shutil.which("lxc-attach") is None:
            raise AnsibleConnectionFailure("lxc-attach is not here: install the package lxc")
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Exit code, output and error output. Raises AnsibleConnectionFailure when the container does not run."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        done = self._attach(cmd, in_data or b"")
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, out_path)
        source = Path(in_path)
        if not source.is_file():
            raise AnsibleFileNotFound(f"{in_path} is not here")
        done = self._attach(f"cat > {shlex.quote(out_path)}", source.read_bytes())
        if done.returncode:
            raise AnsibleConnectionFailure(f"cannot write {out_path}: {done.stderr.decode(errors='replace').strip()}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(in_path, out_path)
        done = self._attach(f"cat {shlex.quote(in_path)}", b"")
        if done.returncode:
            raise AnsibleConnectionFailure(f"cannot read {in_path}: {done.stderr.decode(errors='replace').strip()}")
        Path(out_path).write_bytes(done.stdout)

    def close(self) -> None:
        self._connected = False

    def _attach(self, command: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
        name, path = self.get_option("remote_addr"), self.get_option("lxc_path")
        inside = [self.get_option("executable"), "-c", command]
        done = subprocess.run(
            ["lxc-attach", "-P", path, "-n", name, "--clear-env", "-v", f"PATH={SEARCH_PATH}",
             "-v", "LANG=C.UTF-8", "-v", "HOME=/root", "--", *inside],
            input=data, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode and b"lxc-attach: " in done.stderr and b"Failed to get init pid" in done.stderr:
            raise AnsibleConnectionFailure(f"the container {name} in {path} does not run")
        return done
