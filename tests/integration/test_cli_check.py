"""`hostwright check` names each problem of a site in a line of its own."""

import shutil
from pathlib import Path

from orchestrator.settings import PROJECT_DIR
from tests.support.terminal import run


def copy_site(place: Path, filled: str | None) -> dict[str, str]:
    """A copy of the example's inventory, with its placeholders filled in or not, and the settings that name it."""
    shutil.copytree(PROJECT_DIR / "inventory" / "production.example", place / "inventory")
    for file in (place / "inventory").rglob("*.yml"):
        if filled is not None:
            file.write_text(file.read_text().replace("CHANGE_ME", filled))
    secrets = place / "secrets.json"
    secrets.write_text("{}")
    secrets.chmod(0o600)
    return {"HOSTWRIGHT_INVENTORY": str(place / "inventory"), "HOSTWRIGHT_SECRETS_FILE": str(secrets)}


def test_case_e15_names_each_place_that_is_not_filled_in_in_a_line(tmp_path: Path) -> None:
    done = run("check", **copy_site(tmp_path, None))
    lines = done.stderr.removeprefix("error: ").splitlines()
    assert done.returncode == 1
    assert len(lines) > 5
    assert all("CHANGE_ME" in line for line in lines)


def test_case_e15_names_each_missing_secret_in_a_line(tmp_path: Path) -> None:
    done = run("check", **copy_site(tmp_path, "x"))
    lines = done.stderr.removeprefix("error: ").splitlines()
    assert done.returncode == 1
    assert len(lines) > 2
    assert all("; " not in line for line in lines)
    assert sum("proxmox_token" in line for line in lines) == 1
