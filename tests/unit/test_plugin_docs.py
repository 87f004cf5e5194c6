"""`ansible-doc` shows every plugin, and an action plugin's options there are the arguments that it takes."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.settings import PROJECT_DIR

ANSIBLE_DOC = Path(sys.executable).with_name("ansible-doc")
PLUGINS = PROJECT_DIR / "plugins"
KINDS = {"module": "modules", "connection": "connection", "inventory": "inventory"}


def names(folder: str) -> list[str]:
    return sorted(path.stem for path in (PLUGINS / folder).glob("*.py"))


def ansible_doc(*arguments: str) -> Any:
    done = subprocess.run(
        [ANSIBLE_DOC, "--json", *arguments], cwd=PROJECT_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return json.loads(done.stdout)


@cache
def documented(kind: str) -> dict[str, Any]:
    """What ansible-doc says of each of our plugins of a kind, by name."""
    return dict(ansible_doc("-t", kind, *names(KINDS[kind])))


def arguments_of(action: str) -> Mapping[str, Any]:
    spec = importlib.util.spec_from_file_location(f"action_{action}", PLUGINS / "action" / f"{action}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arguments: Mapping[str, Any] = module.ActionModule.ARGUMENTS
    return arguments


def plain(options: Mapping[str, Any], nested: str) -> dict[str, Any]:
    """What an option takes, without words; `nested` is what the options of a dict are called."""
    return {name: _option(option, nested) for name, option in options.items()}


def _option(option: Mapping[str, Any], nested: str) -> dict[str, Any]:
    taken = {key: option.get(key) for key in ("elements", "choices", "default")}
    below = plain(option.get(nested) or {}, nested)
    return {"type": option.get("type", "str"), "required": option.get("required", False), **taken, "options": below}


@pytest.mark.parametrize("action", names("action"))
def test_case_f5_documents_the_arguments_that_an_action_takes_and_no_other(action: str) -> None:
    doc = documented("module")[action]["doc"]
    assert plain(doc["options"], "suboptions") == plain(arguments_of(action), "options")
    assert doc["has_action"]


@pytest.mark.parametrize("action", names("action"))
def test_case_f5_gives_an_example_that_the_action_takes(action: str) -> None:
    arguments = arguments_of(action)
    required = {name for name, argument in arguments.items() if argument.get("required")}
    for task in yaml.safe_load(documented("module")[action]["examples"]):
        assert required <= set(task[action]) <= set(arguments)


@pytest.mark.parametrize("action", names("action"))
def test_case_f5_says_what_an_action_returns(action: str) -> None:
    returned = documented("module")[action]["return"]
    assert returned
    assert all(value["description"] and value["returned"] for value in returned.values())


@pytest.mark.parametrize("kind", KINDS)
def test_case_f5_shows_every_plugin_with_a_description(kind: str) -> None:
    for name in names(KINDS[kind]):
        doc = documented(kind)[name]["doc"]
        assert doc["short_description"]
        assert all(option["description"] for option in doc["options"].values())


def test_case_f5_lists_every_action_with_what_it_does() -> None:
    listed = ansible_doc("--list", "ansible.legacy")
    assert all(listed.get(f"ansible.legacy.{name}") for name in names("action"))


def test_case_f5_knows_every_kind_of_plugin() -> None:
    """A folder of a new kind needs a row in KINDS, or its reason here."""
    ours = {"action": "through modules", "doc_fragments": "parts of those", "hostwright_ansible": "no plugins"}
    folders = {path.name for path in PLUGINS.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders == {*KINDS.values(), *ours}
    assert set(names("action")) <= set(names("modules"))
