"""The documents name only requests that are there, and every one; their JSON is what is sent and answered."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from pydantic import BaseModel

from agent import hostwright_agent
from orchestrator.api.endpoints import LEGACY_PREFIX, TABLES
from orchestrator.api.hooks.billing import BillingEvent
from orchestrator.api.http.answers import ProblemAnswer
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.api.instances.orders import DevOrder, GameOrder
from orchestrator.api.operations.answers import OperationAnswer
from orchestrator.domain.billing import Action
from orchestrator.domain.phases import PLAYED
from orchestrator.lab.control import Control, Services
from orchestrator.settings import PROJECT_DIR, Settings
from tests.support.doc_blocks import Block, find_blocks, find_pages
from tests.unit.test_docs import rows, section

REQUEST = re.compile(r"(?P<method>GET|HEAD|POST|PUT|PATCH|DELETE) (?P<path>/[\w{}/.-]*)(?:\?(?P<query>[\w=&]*))?")
SHORT = re.compile(r"`…(?P<path>/\w+)`")
CURL = re.compile(r"curl .*?\$URL(?P<path>/[^\s\"?]*)")
PLACEHOLDER = re.compile(r"\{\w+\}|\b[0-9a-f]{8}-[0-9a-f-]{27}\b")

# An alias of server_name.
WITHOUT_MODEL = {"serverName"}

Requests = set[tuple[str, str]]


def plain(path: str) -> str:
    """A path whose ids have one name."""
    return PLACEHOLDER.sub("{}", path)


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    (each.method, plain(prefix + each.path)): each for prefix, table in TABLES for each in table
}


def of_lab() -> Requests:
    app = Control(cast("Services", None)).make_application()
    routes = {(route.method, str(route.resource.canonical)) for route in app.router.routes() if route.resource}
    return {(method, path) for method, path in routes if method != "HEAD"}


def of_agent() -> Requests:
    return {("GET", path) for path in hostwright_agent.GET} | {("POST", path) for path in hostwright_agent.POST}


def known(page: Path) -> Requests:
    """The requests of whoever a page is about."""
    about: dict[str, Requests] = {"docs/lab.md": of_lab(), "agent/README.md": of_agent()}
    return about.get(str(page.relative_to(PROJECT_DIR)), set(ENDPOINTS))


def named(text: str) -> Iterator[tuple[str, str, set[str]]]:
    """Method, path and names in the query of every request in a text. `…/stop` is beside the request before it."""
    method = parent = ""
    for found in re.finditer(f"{REQUEST.pattern}|{SHORT.pattern.replace('path', 'beside')}", text):
        if found["beside"]:
            yield method, plain(parent + found["beside"]), set()
        else:
            method, parent = found["method"], found["path"].rpartition("/")[0]
            yield (
                method,
                plain(found["path"]),
                {part.partition("=")[0] for part in (found["query"] or "").split("&")} - {""},
            )


# requests


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(PROJECT_DIR))) for page in find_pages()])
def test_case_f4_names_only_requests_that_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for method, path, query in named(text):
        assert (method, path) in known(page), f"{method} {path}"
        if endpoint := ENDPOINTS.get((method, path)):
            assert query <= {each.name for each in endpoint.parameters if each.place == "query"}, f"{method} {path}"
    for found in CURL.finditer(text.replace("\\\n", " ")):
        assert plain(found["path"]) in {path for _, path in ENDPOINTS}, found["path"]


@pytest.mark.parametrize("page", ["docs/api.md", "docs/lab.md", "agent/README.md"])
def test_case_f4_names_every_request(page: str) -> None:
    told = {(method, path) for method, path, _ in named((PROJECT_DIR / page).read_text(encoding="utf-8"))}
    missing = {each for each in known(PROJECT_DIR / page) - told if not each[1].startswith(f"{LEGACY_PREFIX}/")}
    assert missing - {("POST", LEGACY_PREFIX)} == set()


def test_case_f4_lists_only_actions_that_a_customer_can_ask_for() -> None:
    """The table of billing states is made from Action. An order is decided by domain.admission, and all else reads."""
    asked = {endpoint.action for endpoint in ENDPOINTS.values() if endpoint.action is not None}
    assert asked | {Action.READ, Action.ORDER} == set(Action)


# JSON


def models() -> set[type[BaseModel]]:
    """What is sent and answered as a whole, or one by one in a page of them."""
    whole: set[type[BaseModel]] = {model for each in ENDPOINTS.values() for model in (*each.body, each.result) if model}
    parts = {part for model in whole for field in model.model_fields.values() for part in _arguments(field.annotation)}
    return whole | parts


def _arguments(annotation: Any) -> list[type[BaseModel]]:
    found = getattr(annotation, "__args__", ())
    return [each for each in found if isinstance(each, type) and issubclass(each, BaseModel)]


def aliases(model: type[BaseModel]) -> set[str]:
    schema = model.model_json_schema(by_alias=True, mode="serialization")
    return set(schema["properties"])


EXAMPLES = [each for each in find_blocks(PROJECT_DIR / "docs" / "api.md") if each.label == "json"]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_case_f4_shows_an_answer_as_it_is(example: Block) -> None:
    shown = json.loads(example.text)
    fitting = [model for model in models() if aliases(model) == set(shown)]
    assert fitting, f"{example}: no answer has exactly these members"
    assert shown in [model.model_validate(shown).model_dump(mode="json", by_alias=True) for model in fitting]


def members(page: str, heading: str) -> set[str]:
    """The members in the first column of a section's tables."""
    text = (PROJECT_DIR / page).read_text(encoding="utf-8")
    below = section(text, heading)
    table = below.split("| member |", 1)[1].split("\n\n")[0]
    return {name for row in rows("| member |" + table) for name in re.findall(r"`(\w+)`", row[0])}


def test_case_f4_lists_the_members_of_an_order() -> None:
    assert members("docs/api.md", "## Order") == aliases(GameOrder) | aliases(DevOrder)


def test_case_f4_lists_the_members_of_an_operation() -> None:
    assert members("docs/api.md", "## Watch an operation") == aliases(OperationAnswer)


def test_case_f4_names_only_members_that_are_there() -> None:
    """Those in braces, `{customers: […], next}`, in which `…` and words are values."""
    described: set[type[BaseModel]] = models() | {ProblemAnswer}
    schemas = [model.model_json_schema(by_alias=True, mode="serialization") for model in described]
    every = [part for schema in schemas for part in (schema, *schema.get("$defs", {}).values())]
    there = {name for part in every for name in part.get("properties", {})}
    for page in ("docs/api.md", "docs/tenants.md"):
        text = (PROJECT_DIR / page).read_text(encoding="utf-8")
        outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for braces in re.findall(r"`(\{[^`]+\})`", outside):
            words = re.sub(r'(?<=: )"[^"]*"(?: or "[^"]*")*', "", braces)
            unknown = set(re.findall(r"[A-Za-z_]\w*", words)) - there - WITHOUT_MODEL - {"or", "true", "false", "null"}
            assert unknown == set(), f"{page}: {braces}"


def test_case_f4_shows_the_whole_body_of_a_billing_event() -> None:
    text = (PROJECT_DIR / "docs/tenants.md").read_text(encoding="utf-8")
    below = section(text, "## The billing webhook")
    for body in (re.search(r'`(\{"id".*?\})`', below, re.DOTALL), re.search(r"printf '(\{.*?\})'", below)):
        assert body is not None
        assert set(re.findall(r'"(\w+)":', body[1])) == aliases(BillingEvent)


# other data

READERS: dict[str, Callable[[str], Any]] = {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}
DATA = [each for page in find_pages() for each in find_blocks(page) if each.label in READERS]


@pytest.mark.parametrize("example", DATA, ids=str)
def test_case_f4_prints_data_that_can_be_read(example: Block) -> None:
    assert READERS[example.label](example.text)


def test_case_f4_names_the_secrets_that_the_inventory_names() -> None:
    site = (PROJECT_DIR / "inventory/production.example/group_vars/all/site.yml").read_text(encoding="utf-8")
    (secrets,) = [each for each in find_blocks(PROJECT_DIR / "README.md") if each.label == "json"]
    assert set(json.loads(secrets.text)) == {
        *re.findall(r"^ +(?:master_)?secret: (\w+)", site, re.MULTILINE),
        "billing_secret",
    }


def test_case_f4_shows_settings_that_are_there() -> None:
    (file,) = [each for each in find_blocks(PROJECT_DIR / "docs/configuration.md") if each.label == "toml"]
    settings = tomllib.loads(file.text)
    assert set(settings) <= set(Settings.model_fields)
    assert set(settings["phase_timeouts"]) <= set(map(str, PLAYED))
