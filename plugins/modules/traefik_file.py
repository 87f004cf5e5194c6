#!/usr/bin/python
"""One file of Traefik's file provider: ours, whole at every moment, and never somebody else's."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: traefik_file
short_description: One instance's file in the directory of Traefik's file provider
description:
  - Writes C(<directory>/<name>.yml), or removes it, or lists the files that carry our mark.
  - A file without the mark of this instance is neither replaced nor removed. Replacing it fails; to remove it there is
    nothing to do, since nothing of this instance is there.
  - An entry point that another file of ours uses is refused, since it can lead to one instance only.
  - Traefik never sees half a file. It reads every C(.yml) in the directory at each change there, so the new file is
    written under a name without that end and gets its own in one step. M(ansible.builtin.copy) may not be so careful
    where its temporary directory is another file system.
options:
  directory:
    description: The directory that Traefik watches.
    type: path
    required: true
  state:
    description: Whether the file shall be there; V(listed) only reads.
    type: str
    choices: [present, absent, listed]
    default: present
  name:
    description: Short host name of the instance.
    type: str
  instance:
    description: Id of the instance, for the mark.
    type: str
  configuration:
    description: The dynamic configuration.
    type: dict
author:
  - Hostwright contributors
"""

RETURN = """
files:
  description: Name to configuration of every file with our mark, when they are listed.
  type: dict
  returned: state is listed
"""

MARK = re.compile(r"# Managed by Hostwright\. instance=(\S+)")


class RefusedError(Exception):
    """One sentence: what stands in the way, and the remedy."""


def rendered(instance: str, configuration: dict[str, Any]) -> str:
    """The file: our mark, then JSON, which every reader of YAML reads."""
    return f"# Managed by Hostwright. instance={instance}\n{json.dumps(configuration, indent=2, sort_keys=True)}\n"


def owner(text: str) -> str | None:
    """The instance that the mark names; a person may have added a note behind it."""
    mark = MARK.match(text)
    return mark[1] if mark else None


def parsed(text: str) -> dict[str, Any]:
    """The configuration of a file of ours; empty for one that somebody broke."""
    with contextlib.suppress(ValueError):
        content = json.loads(text.partition("\n")[2])
        if isinstance(content, dict):
            return content
    return {}


def entry_points(configuration: dict[str, Any]) -> set[str]:
    """The entry points that its routers use; what somebody broke is passed over."""
    sections = [_members(configuration, protocol) for protocol in ("tcp", "udp")]
    routers = [_members(section["routers"], name) for section in sections for name in _members(section, "routers")]
    lists = [router.get("entryPoints") for router in routers]
    return {name for names in lists if isinstance(names, list) for name in names if isinstance(name, str)}


def _members(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    """The object of that name; empty when it is none."""
    found = mapping.get(name)
    return found if isinstance(found, dict) else {}


def ours(directory: Path) -> dict[str, dict[str, Any]]:
    """Name to configuration of every file with our mark."""
    texts = {path.stem: _text(path) for path in sorted(directory.glob("*.yml"))}
    return {name: parsed(text) for name, text in texts.items() if text is not None and owner(text)}


def ensure(directory: Path, name: str, instance: str, configuration: dict[str, Any], *, check: bool) -> bool:
    """Whether the file had to be written. Raises RefusedError."""
    path = directory / f"{name}.yml"
    wanted, found = rendered(instance, configuration), _text(path)
    if owner(wanted) != instance:
        raise RefusedError(f"instance id {instance!r} cannot stand in a mark: it must be one word")
    if found == wanted:
        return False
    named = owner(found) if found is not None else instance
    if named != instance:
        carries = f"the mark of instance {named}" if named else "no mark of Hostwright"
        raise RefusedError(f"{path} carries {carries}, not that of {instance}, and was not touched: move it away")
    for other, content in ours(directory).items():
        shared = entry_points(content) & entry_points(configuration)
        if other != name and shared:
            raise RefusedError(f"entry point {sorted(shared)[0]} leads to {other} already: remove that one first")
    if not check:
        _write(path, wanted, is_new=found is None)
    return True


def remove(directory: Path, name: str, instance: str, *, check: bool) -> bool:
    """Whether a file of this instance was there. Another's stays: then nothing of this instance is there."""
    path = directory / f"{name}.yml"
    found = _text(path)
    if found is None or owner(found) != instance:
        return False
    if not check:
        path.unlink()
    return True


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _write(path: Path, text: str, *, is_new: bool) -> None:
    """In one step. A link fails where a file has come into being since we looked, which a rename would replace."""
    descriptor, making = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".making", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        if is_new:
            os.link(making, path)
        else:
            os.replace(making, path)  # noqa: PTH105 - beside os.link
    except FileExistsError:
        raise RefusedError(f"{path} was made by somebody else just now, and was not touched: try again") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(making)  # noqa: PTH108 - as above


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent", "listed"]},
            "name": {"type": "str"},
            "instance": {"type": "str"},
            "configuration": {"type": "dict"},
        },
        required_if=[
            ("state", "present", ["name", "instance", "configuration"]),
            ("state", "absent", ["name", "instance"]),
        ],
        supports_check_mode=True,
    )
    given, check = module.params, module.check_mode
    directory = Path(given["directory"])
    try:
        if not directory.is_dir():
            raise RefusedError(f"there is no directory {directory}: is Traefik set up there?")
        if given["state"] == "listed":
            module.exit_json(changed=False, files=ours(directory))
        if given["state"] == "absent":
            changed = remove(directory, given["name"], given["instance"], check=check)
        else:
            changed = ensure(directory, given["name"], given["instance"], given["configuration"], check=check)
    except RefusedError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or directory}: {error.strerror or error}")
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
