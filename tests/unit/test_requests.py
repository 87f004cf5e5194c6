"""What a client may send, checked without a server."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.http import parameters
from orchestrator.api.http.parameters import WAIT, Parameter
from orchestrator.api.http.problems import problem_response
from orchestrator.api.instances.orders import KEY, parse_order
from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.models import Principal
from orchestrator.play.inventory import load_catalogue
from orchestrator.settings import load_settings
from orchestrator.store.orders import Order

CUSTOMER = Principal(name="test", customer_id="acme")
OPERATOR = Principal(name="test", customer_id=None)
GAME = {"ctype": "game", "variant": "vanilla", "version": "1.21.7"}
DEV = {"ctype": "dev", "runtime": "python", "version": "3.12"}

EXPLOIT = "{{ lookup('pipe','touch pwned') }}"
NASTY = {
    "template": EXPLOIT,
    "jinja statement": "{% for x in [1] %}{{ x }}{% endfor %}",
    "shell": "$(touch pwned); `touch pwned` | touch pwned",
    "quotes": """'"\\'""",
    "newline": "vanilla\ntouch pwned",
    "trailing newline": "vanilla\n",
    "carriage return": "a\rb",
    "line separator": "a\u2028b",
    "NUL": "a\0b",
    "escape sequence": "\x1b[31mred",
    "C1 control": "a\x85b",
    "long": "x" * 10_000,
    "lone surrogate": "\ud800",
    "surrogate in text": "a\udfffb",
    "path": "../../etc/passwd",
    "empty": "",
    "unicode": "wörld-世界-🧱",
    "bidi override": "a\u202eb",
    "look-alike digits": "１.２１.７",
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(load_settings(state_dir=Path("state")).catalogue_path)


def read(parameter: Parameter[Any], text: str | None) -> Any:
    """A parameter of a request that has it, or, with None, has it not."""
    return parameter.read({} if text is None else {parameter.name: text})


def parse(catalogue: Catalogue, body: Any, principal: Principal = CUSTOMER) -> Order:
    return parse_order(body if isinstance(body, bytes) else json.dumps(body).encode(), None, principal, catalogue)


def refuse(catalogue: Catalogue, body: Any, principal: Principal = CUSTOMER) -> list[dict[str, str]]:
    """The errors of a body that is refused, as the client reads them."""
    with pytest.raises(Problem) as refused:
        parse(catalogue, body, principal)
    assert refused.value.code is ProblemCode.INVALID_REQUEST
    answer = json.loads(bytes(problem_response(refused.value).body))
    errors: list[dict[str, str]] = answer["errors"]
    for error in errors:
        assert (error["pointer"] or "the body")[:100] in answer["detail"] or len(answer["detail"]) > 500
    return errors


def pointers(catalogue: Catalogue, body: Any, principal: Principal = CUSTOMER) -> set[str]:
    return {error["pointer"] for error in refuse(catalogue, body, principal)}


def test_fills_in_defaults(catalogue: Catalogue) -> None:
    order = parse(catalogue, GAME)
    assert order.customer_id == "acme"
    assert order.spec == {
        "ctype": "game", "game": "minecraft", "variant": "vanilla", "version": "1.21.7", "world": "world", "env": {},
        "memory_mib": 2048, "cpu_cores": 2, "disk_gib": 8, "on_failure": "cleanup",
    }  # fmt: skip
    assert parse(catalogue, DEV).spec["enable_code_server"] is True


def test_takes_what_is_given(catalogue: Catalogue) -> None:
    given = {"world": "My world_1.2", "memoryMiB": 4096, "cpuCores": 4, "diskGiB": 10, "onFailure": "keep"}
    order = parse(catalogue, GAME | given | {"env": {"MOTD": EXPLOIT, "EMPTY": ""}})
    assert order.spec["env"] == {"MOTD": EXPLOIT, "EMPTY": ""}
    assert (order.demand.memory_mib, order.demand.cpu_cores) == (4096, 4)
    assert (order.spec["world"], order.spec["disk_gib"], order.spec["on_failure"]) == ("My world_1.2", 10, "keep")


def test_hashes_alike_however_it_is_spelled(catalogue: Catalogue) -> None:
    short = parse(catalogue, GAME).demand.request_hash
    long = {"version": "1.21.7", "game": "minecraft", "variant": "vanilla", "container_type": "game", "env": {}}
    assert parse(catalogue, long | {"memoryMiB": 2048, "cpuCores": None}).demand.request_hash == short
    for other in ({"memoryMiB": 4096}, {"world": "other"}, {"env": {"A": ""}}, {"onFailure": "keep"}):
        assert parse(catalogue, GAME | other).demand.request_hash != short


@pytest.mark.parametrize("name", ["ctype", "containerType", "container_type"])
def test_reads_the_container_type_under_each_name(catalogue: Catalogue, name: str) -> None:
    body = {name: "dev", "runtime": "python", "version": "3.12"}
    assert parse(catalogue, body).demand.ctype == "dev"
    assert pointers(catalogue, body | {name: "vm"}) == {f"/{name}"}


def test_takes_names_of_the_container_type_that_agree(catalogue: Catalogue) -> None:
    assert parse(catalogue, GAME | {"containerType": "game", "container_type": "game"}).demand.ctype == "game"


def test_refuses_names_of_the_container_type_that_disagree(catalogue: Catalogue) -> None:
    assert pointers(catalogue, GAME | {"container_type": "dev"}) == {"/ctype", "/container_type"}
    assert pointers(catalogue, GAME | {"containerType": None}) == {"/ctype", "/containerType"}


def test_names_every_wrong_field_of_a_game_at_once(catalogue: Catalogue) -> None:
    body = {
        "ctype": "game", "game": 7, "variant": "spigot", "version": "9.9", "world": "../x", "memoryMiB": 1,
        "cpuCores": "2", "diskGiB": 8.0, "onFailure": "explode", "runtime": "python", "a/b~c": 1, "": 2,
        "env": {"lower": "x", "OK": "fine", "LONG": "x" * 1025, "NUMBER": 1, "LINE": "a\nb"},
    }  # fmt: skip
    assert pointers(catalogue, body) == {
        "/game", "/variant", "/version", "/world", "/memoryMiB", "/cpuCores", "/diskGiB", "/onFailure", "/runtime",
        "/a~1b~0c", "/", "/env/lower", "/env/LONG", "/env/NUMBER", "/env/LINE",
    }  # fmt: skip


def test_names_every_wrong_field_of_a_dev_container_at_once(catalogue: Catalogue) -> None:
    body = {"ctype": "dev", "runtime": "cobol", "version": "68", "enableCodeServer": 1, "cpuCores": 17, "world": "w"}
    assert pointers(catalogue, body) == {"/runtime", "/version", "/enableCodeServer", "/cpuCores", "/world"}


def test_names_missing_fields(catalogue: Catalogue) -> None:
    assert pointers(catalogue, {"ctype": "game"}) == {"/variant", "/version"}
    assert pointers(catalogue, {"ctype": "dev"}) == {"/runtime", "/version"}
    assert {"pointer": "/version", "detail": "is required"} in refuse(catalogue, {"ctype": "game"})


@pytest.mark.parametrize("ctype", [None, "", "GAME", "vm", 1, True, [], {}, ["game"]])
def test_names_other_wrong_fields_beside_a_wrong_container_type(catalogue: Catalogue, ctype: Any) -> None:
    body = {"ctype": ctype, "variant": "vanilla", "version": "nope", "memoryMiB": "2", "bogus": 1}
    assert pointers(catalogue, body) == {"/ctype", "/version", "/memoryMiB", "/bogus"}
    assert pointers(catalogue, {}) == {"/ctype", "/version"}


@pytest.mark.parametrize("value", ["2", "2048", 2048.0, 2048.5, True, False, [2048], {}, 1e400, "", "２"])
@pytest.mark.parametrize("name", ["memoryMiB", "cpuCores", "diskGiB"])
def test_refuses_what_is_not_a_whole_number(catalogue: Catalogue, name: str, value: Any) -> None:
    body = json.dumps(GAME | {name: "here"}).replace('"here"', "1e400" if value == 1e400 else json.dumps(value))
    assert pointers(catalogue, body.encode()) == {f"/{name}"}


@pytest.mark.parametrize("value", [1, True, None, [], {}, 1.21])
@pytest.mark.parametrize("name", ["game", "variant", "version", "world", "onFailure"])
def test_refuses_what_is_not_a_string(catalogue: Catalogue, name: str, value: Any) -> None:
    assert pointers(catalogue, GAME | {name: value}) == {f"/{name}"}


@pytest.mark.parametrize("value", [0, 1, "true", "yes", None])
def test_refuses_what_is_not_a_boolean(catalogue: Catalogue, value: Any) -> None:
    assert pointers(catalogue, DEV | {"enableCodeServer": value}) == {"/enableCodeServer"}


@pytest.mark.parametrize(("name", "low", "high"), [("memoryMiB", 512, 32768), ("cpuCores", 1, 16), ("diskGiB", 8, 500)])
def test_holds_the_limits_of_the_catalogue(catalogue: Catalogue, name: str, low: int, high: int) -> None:
    for order in (GAME, DEV):
        for value in (low, high):
            assert parse(catalogue, order | {name: value})
        for value in (low - 1, high + 1, 0, -1, 2**31, 2**63, 10**4000):
            assert refuse(catalogue, order | {name: value}) == [
                {"pointer": f"/{name}", "detail": f"must be from {low} to {high}"}
            ]


def test_takes_only_versions_of_the_chosen_variant(catalogue: Catalogue) -> None:
    assert pointers(catalogue, GAME | {"variant": "purpur", "version": "1.20.4"}) == {"/version"}
    assert pointers(catalogue, GAME | {"variant": "forge"}) == {"/version"}
    assert pointers(catalogue, DEV | {"version": "24"}) == {"/version"}
    assert parse(catalogue, GAME | {"variant": "forge", "version": "1.20.4"})


def test_says_what_the_catalogue_has(catalogue: Catalogue) -> None:
    assert refuse(catalogue, DEV | {"version": "2.7"}) == [
        {"pointer": "/version", "detail": "is not in the catalogue; there is: 3.11, 3.12, 3.13"}
    ]


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
@pytest.mark.parametrize("name", ["game", "variant", "version", "onFailure", "customerId", "ctype"])
def test_refuses_nasty_choices(catalogue: Catalogue, name: str, nasty: str) -> None:
    assert f"/{name}" in pointers(catalogue, GAME | {"customerId": "acme", name: nasty}, OPERATOR)


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_refuses_nasty_runtimes(catalogue: Catalogue, nasty: str) -> None:
    assert pointers(catalogue, DEV | {"runtime": nasty}) >= {"/runtime"}
    assert pointers(catalogue, DEV | {"version": nasty}) == {"/version"}


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_refuses_nasty_worlds(catalogue: Catalogue, nasty: str) -> None:
    assert pointers(catalogue, GAME | {"world": nasty}) == {"/world"}


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_refuses_nasty_env_names(catalogue: Catalogue, nasty: str) -> None:
    errors = refuse(catalogue, GAME | {"env": {nasty: "x"}})
    assert len(errors) == 1
    assert errors[0]["pointer"].startswith("/env/")


LITERAL = (
    "template",
    "jinja statement",
    "shell",
    "quotes",
    "path",
    "empty",
    "unicode",
    "bidi override",
    "look-alike digits",
)


@pytest.mark.parametrize("nasty", LITERAL)
def test_keeps_env_values_literally(catalogue: Catalogue, nasty: str) -> None:
    assert parse(catalogue, GAME | {"env": {"A": NASTY[nasty]}}).spec["env"] == {"A": NASTY[nasty]}


@pytest.mark.parametrize("nasty", sorted(set(NASTY) - set(LITERAL)))
def test_refuses_nasty_env_values(catalogue: Catalogue, nasty: str) -> None:
    assert pointers(catalogue, GAME | {"env": {"A": NASTY[nasty]}}) == {"/env/A"}


@pytest.mark.parametrize("nasty", sorted(set(NASTY) - {"lone surrogate", "surrogate in text"}))
def test_names_nasty_unknown_fields(catalogue: Catalogue, nasty: str) -> None:
    name = NASTY[nasty].replace("~", "~0").replace("/", "~1")
    assert pointers(catalogue, GAME | {NASTY[nasty]: "x"}) == {f"/{name}"[:100]}


@pytest.mark.parametrize("nasty", ["lone surrogate", "surrogate in text"])
def test_refuses_unknown_fields_that_are_not_unicode(catalogue: Catalogue, nasty: str) -> None:
    assert pointers(catalogue, GAME | {NASTY[nasty]: "x"}) == {""}


def test_names_fields_that_pydantic_gives_a_meaning(catalogue: Catalogue) -> None:
    assert pointers(catalogue, GAME | {"[key]": 1}) == {"/[key]"}
    assert pointers(catalogue, GAME | {"env": {"[key]": "x"}}) == {"/env/[key]"}
    assert pointers(catalogue, GAME | {"memory_mib": 4096, "on_failure": "keep", "customer_id": "x"}) == {
        "/memory_mib", "/on_failure", "/customer_id",
    }  # fmt: skip


@pytest.mark.parametrize("env", [{f"A{number}": "x" for number in range(33)}, [], "A=1", None, 1])
def test_refuses_an_env_that_is_too_large_or_no_object(catalogue: Catalogue, env: Any) -> None:
    assert pointers(catalogue, GAME | {"env": env}) == {"/env"}
    assert parse(catalogue, GAME | {"env": {f"A{number}": "x" * 1024 for number in range(32)}})


def test_has_no_env_in_a_dev_container(catalogue: Catalogue) -> None:
    assert pointers(catalogue, DEV | {"env": {}}) == {"/env"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"nonsense", b"\xff\xfe\xff", b'{"ctype": NaN}', b'{"memoryMiB": Infinity}', b"{'a': 1}",
        b'{"cpuCores": -Infinity}', b'{"a": 1,}', b'{"a": 1} {"b": 2}', b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 60_000, b'{"a":' * 10_000, b'{"a": "\x00"}', b'{"a": "line\nbreak"}', b'{"a": 0x10}',
    ],
)  # fmt: skip
def test_refuses_what_is_not_json(catalogue: Catalogue, body: bytes) -> None:
    assert refuse(catalogue, body) == [{"pointer": "", "detail": "the body is not valid JSON"}]


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"game"', b"true", b"[{}]"])
def test_refuses_json_that_is_no_object(catalogue: Catalogue, body: bytes) -> None:
    assert refuse(catalogue, body) == [{"pointer": "", "detail": "the body must be a JSON object"}]


@pytest.mark.parametrize(
    "body",
    [
        b'{"ctype": "game", "ctype": "dev", "runtime": "python", "version": "3.12"}',
        b'{"ctype": "game", "variant": "vanilla", "version": "1.21.7", "env": {"A": "1", "A": "2"}}',
    ],
)
def test_refuses_a_name_that_stands_twice(catalogue: Catalogue, body: bytes) -> None:
    assert refuse(catalogue, body) == [{"pointer": "", "detail": "a name stands twice in one JSON object"}]


def test_refuses_deep_nesting_where_a_string_belongs(catalogue: Catalogue) -> None:
    deep = '{"a":' * 500 + "1" + "}" * 500
    for name in ("world", "variant", "env", "customerId"):
        body = json.dumps(GAME | {name: "here"}).replace('"here"', deep).encode()
        assert any(pointer.startswith(f"/{name}") for pointer in pointers(catalogue, body, OPERATOR))


def test_never_echoes_long_input(catalogue: Catalogue) -> None:
    long = "Z" * 10_000
    body = {
        "ctype": "game", "game": long, "variant": long, "version": long, "world": long, "onFailure": long,
        "customerId": long, long: long, "env": {long: long, "A": long},
    }  # fmt: skip
    for wrong in (body, body | {"ctype": long}, {"ctype": "dev", "runtime": long, "version": long, long: 1}):
        with pytest.raises(Problem) as refused:
            parse(catalogue, wrong, OPERATOR)
        answer = bytes(problem_response(refused.value).body)
        assert b"Z" * 101 not in answer
        assert len(answer) < 5_000


def test_needs_a_customer_from_an_operator(catalogue: Catalogue) -> None:
    assert parse(catalogue, GAME | {"customerId": "acme"}, OPERATOR).customer_id == "acme"
    for body in (GAME, GAME | {"customerId": None}):
        assert pointers(catalogue, body, OPERATOR) == {"/customerId"}
    for wrong in (1, ["acme"], "Acme", "a" * 64, "-a", "a b", "acme\n"):
        assert pointers(catalogue, GAME | {"customerId": wrong}, OPERATOR) == {"/customerId"}
    assert pointers(catalogue, {"ctype": "game", "bogus": 1}, OPERATOR) == {
        "/variant", "/version", "/bogus", "/customerId",
    }  # fmt: skip


def test_forbids_a_customer_to_name_one(catalogue: Catalogue) -> None:
    wrong: list[Any] = ["acme", "other", 1, {}]
    for named in wrong:
        with pytest.raises(Problem) as refused:
            parse(catalogue, GAME | {"customerId": named})
        assert refused.value.code is ProblemCode.FORBIDDEN
    assert parse(catalogue, GAME | {"customerId": None}).customer_id == "acme"


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (None, None), ("a", "a"), ('"a"', "a"), ("x" * 255, "x" * 255), (f'"{"x" * 255}"', "x" * 255),
        ("a-b_c.d~e/f:{}[]", "a-b_c.d~e/f:{}[]"), (EXPLOIT.replace(" ", ""), EXPLOIT.replace(" ", "")), ("'", "'"),
        ("a\\b", "a\\b"), (r'"a\\b"', "a\\b"), (r'"a\"b"', 'a"b'),
    ],
)  # fmt: skip
def test_reads_a_key_bare_or_quoted(header: str | None, key: str | None) -> None:
    assert read(KEY, header) == key


@pytest.mark.parametrize(
    "header",
    ["", '"', '""', '"a', 'a"', 'a"b', '"a"b"', "a b", " a", "a\t", "a\n", "a\x7f", "a\0", "ä", "x" * 256,
     f'"{"x" * 256}"', '"a", "b"'],
)  # fmt: skip
def test_refuses_a_key_that_is_none(header: str) -> None:
    with pytest.raises(Problem) as refused:
        read(KEY, header)
    assert refused.value.code is ProblemCode.INVALID_REQUEST
    assert refused.value.extra["errors"][0]["parameter"] == "Idempotency-Key"
    assert len(json.dumps(refused.value.extra)) < 300


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("", None), ("wait=5", 5), ("wait=0", 0), ("wait=30", 30), ("wait=31", 30), ("wait=999999", 30),
        ("respond-async, wait=10", 10), ("wait=10, respond-async", 10), ("respond-async;wait=3", 3), ("Wait=4", 4),
        ("wait=", None), ("wait=x", None), ("wait=-1", None), ("wait=1.5", None), ("wait=5s", None), ("await=5", None),
        ("wait=9999999", None), ("return=minimal", None), ("wait", None),
    ],
)  # fmt: skip
def test_reads_how_long_to_wait(header: str | None, seconds: int | None) -> None:
    assert read(WAIT, header) == seconds


def test_reads_a_customer_of_a_query() -> None:
    assert read(parameters.CUSTOMER, None) is None
    assert read(parameters.CUSTOMER, "acme-1") == "acme-1"
    for wrong in ("", "A", "a\0", "a\n", "'; drop table customer; --", "x" * 64):
        with pytest.raises(Problem) as refused:
            read(parameters.CUSTOMER, wrong)
        assert refused.value.extra["errors"] == [{"parameter": "customerId", "detail": "is not a customer's id"}]


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (DEV | {"runtime": "cobol", "version": "1"}, "runtime"),
        (GAME | {"variant": "vanila", "version": "9"}, "variant"),
        (GAME | {"game": "quake", "variant": "arena", "version": "3"}, "game"),
    ],
    ids=["runtime", "variant", "game"],
)
def test_case_e6_lists_what_can_be_chosen_first(catalogue: Catalogue, order: dict[str, Any], field: str) -> None:
    first, *others = refuse(catalogue, order)
    assert first["pointer"] == f"/{field}"
    assert "there is:" in first["detail"]
    assert others
    for error in others:
        assert error["detail"].startswith("is not in the catalogue: choose the ")
        assert "there is:" not in error["detail"]
