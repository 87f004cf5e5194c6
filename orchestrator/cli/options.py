"""Options that commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class GuestKind(StrEnum):
    """What the lab makes of a container."""

    PROCESS = "process"
    LXC = "lxc"


StateDir = Annotated[
    Path | None, typer.Option("--state-dir", help="Directory of all local state.", envvar="HOSTWRIGHT_STATE_DIR")
]
Guests = Annotated[
    GuestKind,
    typer.Option(help="The lab's containers: their agent as a process, or real LXC (root; `make lab-setup` first)."),
]
Watched = Annotated[bool, typer.Option("--watch", "-w", help="Show the phases live until it is ready.")]
Memory = Annotated[int | None, typer.Option("--memory", help="MiB of memory.")]
Cores = Annotated[int | None, typer.Option("--cores", help="CPU cores.")]
Disk = Annotated[int | None, typer.Option("--disk", help="GiB of disk.")]
Key = Annotated[str | None, typer.Option("--key", help="Idempotency key: the same key never makes two servers.")]
OnFailure = Annotated[
    str | None, typer.Option("--on-failure", help="cleanup (default), or keep: leave a failed machine for a look.")
]
Customer = Annotated[str | None, typer.Option(help="Order for this customer (operators only).")]
Json = Annotated[bool, typer.Option("--json", help="Print the API's answer as JSON.")]
