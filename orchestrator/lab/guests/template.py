"""The root directory of the lab's template container: the artifacts that its agent finds there."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
CATALOGUE = REPOSITORY / "inventory" / "lab" / "group_vars" / "all" / "catalogue.yml"
STAND_INS = Path(__file__).parent / "artifacts"
SHEBANG_LIMIT = 127
"""Linux cuts a `#!` line off after so many characters."""


def build(root: Path, python: str) -> None:
    """Write the artifacts of every variant and version below `root`, in place of what is there.

    A stand-in is one file under many names. They are hard links, so that the template and every clone stay small."""
    artifacts = root / "artifacts"
    shutil.rmtree(artifacts, ignore_errors=True)
    code_server = artifacts / "dev" / "code-server"
    _install(STAND_INS / "code_server.py", code_server, python)
    for name, game in yaml.safe_load(CATALOGUE.read_text())["hostwright_catalogue"]["games"].items():
        server = artifacts / "stand-in"
        _install(STAND_INS / ("minecraft_server.py" if name == "minecraft" else "game_server.py"), server, python)
        for path in list_artifacts(game):
            target = artifacts / path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(server, target)
        server.unlink()


def list_artifacts(game: dict[str, Any]) -> Iterator[str]:
    """The path of every version's artifact."""
    for variant in game["variants"].values():
        for version in variant["versions"]:
            yield variant["artifact"].format(version=version)


def copy(source: Path, target: Path) -> None:
    """Copy a container's root directory. Artifacts become hard links, because nobody changes them."""
    shutil.rmtree(target, ignore_errors=True)
    if not source.is_dir():
        target.mkdir(parents=True)
        return
    artifacts = source / "artifacts"

    def copy_file(file: str, destination: str) -> None:
        if Path(file).is_relative_to(artifacts):
            os.link(file, destination)
        else:
            shutil.copy2(file, destination)

    shutil.copytree(source, target, copy_function=copy_file, symlinks=True)


def _install(source: Path, target: Path, python: str) -> None:
    """Copy a stand-in as a program of this Python without its site packages, which makes it start faster."""
    lines = source.read_text().splitlines(keepends=True)
    shebang = f"#!{python} -IS\n"
    if len(shebang) <= SHEBANG_LIMIT and " " not in python:
        lines[0] = shebang
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(lines))
    target.chmod(0o755)
