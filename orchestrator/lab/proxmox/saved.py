"""The file that keeps the containers of the lab's Proxmox over a restart of the lab."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fakepve import FakeCt

from orchestrator.lab.errors import LabError

FIELDS = ("vmid", "node", "status", "config", "pending", "snapshots")


class ContainersFile:
    """The containers as JSON, each with the address that it keeps."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._written = ""

    def write(self, containers: Iterable[Any], addresses: Mapping[int, str]) -> None:
        """Write the containers in one step, if anything has changed."""
        state = [
            {name: getattr(container, name) for name in FIELDS} | {"address": addresses.get(container.vmid)}
            for container in containers
        ]
        text = json.dumps(state, indent=1)
        if text == self._written:
            return
        partial = self._file.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(self._file)
        self._written = text

    def read(self) -> list[tuple[Any, str | None]]:
        """The containers and their addresses; none when there is no file. Raises LabError when it is damaged."""
        try:
            saved = json.loads(self._file.read_text())
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise LabError(f"{self._file} is damaged ({error}): delete it to start afresh") from error
        return [(_make_container(item), item["address"]) for item in saved]


def _make_container(item: Mapping[str, Any]) -> Any:
    container = FakeCt(
        item["vmid"], node=item["node"], status=item["status"], config=item["config"],
        pending=item["pending"], defaults=False,
    )  # fmt: skip
    container.snapshots = item["snapshots"]
    return container
