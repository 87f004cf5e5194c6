"""Options that commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class GuestKind(StrEnum):
    """What a container of the lab is."""

    PROCESS = "process"
    LXC = "lxc"


StateDir = Annotated[
    Path | None, typer.Option("--state-dir", help="Directory of all local state.", envvar="HOSTWRIGHT_STATE_DIR")
]
Guests = Annotated[
    GuestKind,
    typer.Option(
        help="What the lab's containers are: processes, or real LXC containers (as root, after `make lab-setup`)."
    ),
]
Watched = Annotated[bool, typer.Option("--watch", "-w", help="Show the phases live until the operation ends.")]
Memory = Annotated[int | None, typer.Option("--memory", help="MiB of memory.")]
Cores = Annotated[int | None, typer.Option("--cores", help="CPU cores.")]
Disk = Annotated[int | None, typer.Option("--disk", help="GiB of disk.")]
Key = Annotated[str | None, typer.Option("--key", help="Idempotency key. The same key never makes two servers.")]
OnFailure = Annotated[
    str | None,
    typer.Option(
        "--on-failure",
        help="What becomes of a failed machine: cleanup (the default) removes it, keep leaves it to be examined.",
    ),
]
Customer = Annotated[str | None, typer.Option(help="Order for this customer (operators only).")]
Json = Annotated[bool, typer.Option("--json", help="Print the API's answer as JSON.")]
