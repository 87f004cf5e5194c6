"""Writes what is generated: the README of every role, and the generated parts of the pages in docs/.

`python -m docs.generate` writes them; with `--check` it names those that are out of date and exits 1. A part of a page
stands between `<!-- generated: NAME -->` and `<!-- end -->`; everything around it is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from bench.__main__ import RESULTS, TARGETS
from bench.figures import Target, is_held
from bench.growth import MOST_MS
from bench.growth import RESULTS as GROWTH_RESULTS
from bench.guests import RESULTS as GUEST_RESULTS
from bench.stream import RESULTS as STREAM_RESULTS
from bench.stream import TARGETS as STREAM_TARGETS
from orchestrator.domain.billing import ALLOWED, REFUSALS, Action, BillingState
from orchestrator.domain.errors import PROBLEM_STATUS
from orchestrator.domain.operations import KINDS
from orchestrator.domain.phases import PLAYED
from orchestrator.domain.refusals import MEANINGS
from orchestrator.domain.states import INSTANCE_TRANSITIONS, OPERATION_TRANSITIONS, InstanceStatus, OperationStatus
from orchestrator.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
CHAOS_RESULTS = ROOT / "tests" / "chaos" / "results" / "latest.json"
PART = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

OWNER = "A container that an order made belongs to that order's instance: name it with `-e server_id=…`.\n"

SLOWEST = 12
"""The queries that the table of growth names one by one. The file has all of them."""

# Defaults that depend on who runs it or where it lies.
SPOKEN_DEFAULTS = {
    "state_dir": "`/var/lib/hostwright` as root, else `~/.local/state/hostwright`",
    "inventory": "`inventory/lab` beside the playbooks",
}


def pages() -> dict[Path, str]:
    """Every page that is generated, or has a generated part, with its text."""
    specs = sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))
    roles = {spec.parents[1] / "README.md": role_readme(spec) for spec in specs}
    written = {page: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").rglob("*.md"))}
    return roles | {page: fill(text) for page, text in written.items() if PART.search(text)}


def fill(text: str) -> str:
    """A page with its parts made anew. An unknown part is a KeyError."""
    return PART.sub(lambda part: part[1] + PARTS[part["name"]]() + part[3], text)


# the parts of pages


def settings_table() -> str:
    rows = ["| setting | environment variable | default | meaning |\n|---|---|---|---|\n"]
    for name, field in Settings.model_fields.items():
        bounds = _bounds(field.metadata)
        default = SPOKEN_DEFAULTS.get(name) or ("unset" if field.default is None else f"`{_value(field)}`")
        meaning = f"{field.description}{f' {bounds}.' if bounds else ''}"
        rows.append(f"| `{name}` | `HOSTWRIGHT_{name.upper()}` | {default} | {meaning} |\n")
    return "".join(rows)


def _value(field: Any) -> object:
    value = field.get_default(call_default_factory=True)
    return json.dumps(value) if isinstance(value, dict) else value


def _bounds(metadata: list[Any]) -> str:
    words = {"ge": "At least", "gt": "More than", "le": "At most", "lt": "Less than"}
    found = [(words[kind], getattr(item, kind)) for item in metadata for kind in words if hasattr(item, kind)]
    return ", ".join(f"{word.lower() if number else word} {bound}" for number, (word, bound) in enumerate(found))


def timeouts_table() -> str:
    rows = [f"| `{phase}` | {phase.limit_seconds} |\n" for phase in PLAYED]
    return "| phase | seconds |\n|---|---|\n" + "".join(rows)


def state_diagram(transitions: Mapping[Any, frozenset[Any]], first: StrEnum) -> str:
    lines = [f"[*] --> {first}"]
    for old, news in transitions.items():
        lines += [f"{old} --> {new}" for new in type(old) if new in news] or [f"{old} --> [*]"]
    return "```mermaid\nstateDiagram-v2\n" + "".join(f"    {line}\n" for line in lines) + "```\n"


def phases_list() -> str:
    return "".join(f"- {kind.name}: {' → '.join(f'`{phase}`' for phase in kind.phases)}\n" for kind in KINDS.values())


def kinds_table() -> str:
    rows = ["| kind | instance in | becomes | ends | undone by | cancel | asked by |\n|---|---|---|---|---|---|---|\n"]
    for kind in KINDS.values():
        undone = ", ".join(f"`{phase}`" for phase in kind.undo) or "–"
        begins = ", ".join(sorted(kind.begins_in)) if set(kind.begins_in) != set(InstanceStatus) else "any"
        cancel = "yes" if kind.cancellable else "no"
        rows.append(
            f"| `{kind.name}` | {begins} | {kind.held_in or '–'} | {kind.ending} | {undone} | {cancel} | {kind.asker} |\n"
        )
    return "".join(rows)


def billing_table() -> str:
    rows = [f"| state | {' | '.join(Action)} | refused with |\n|---|{'---|' * len(Action)}---|\n"]
    for state in BillingState:
        may = " | ".join("yes" if action in ALLOWED[state] else "no" for action in Action)
        code = REFUSALS[state][0] if state in REFUSALS else None
        rows.append(f"| `{state}` | {may} | {f'{PROBLEM_STATUS[code]} `{code}`' if code else '–'} |\n")
    return "".join(rows)


def benchmarks_table() -> str:
    return _targets_table(RESULTS, TARGETS)


def streams_table() -> str:
    return _targets_table(STREAM_RESULTS, STREAM_TARGETS)


def _targets_table(file: Path, targets: Mapping[str, Target]) -> str:
    if not file.exists():
        return "There is no result yet: run `make bench`, then `make docs`.\n"
    results = json.loads(file.read_text(encoding="utf-8"))
    rows = []
    for name, (bound, target) in targets.items():
        value = results["figures"][name]
        held = is_held(value, (bound, target))
        rows.append(f"| `{name}` | {value:g} | {bound} {target:g} | {'held' if held else 'missed'} |\n")
    head = f"Measured at commit `{results['commit']}` on {results['machine']}.\n\n"
    return head + "| figure | measured | target | |\n|---|---|---|---|\n" + "".join(rows)


def growth_table() -> str:
    if not GROWTH_RESULTS.exists():
        return "There is no result yet: run `make bench`, then `make docs`.\n"
    results = json.loads(GROWTH_RESULTS.read_text(encoding="utf-8"))
    figures = sorted(results["figures"].items(), key=lambda figure: -figure[1])
    slowest, others = figures[:SLOWEST], figures[SLOWEST:]
    rows = [f"| `{name}` | {ms:g} | {'held' if ms <= MOST_MS else 'missed'} |\n" for name, ms in slowest]
    rows += [f"| {len(others)} others | at most {others[0][1]:g} | held |\n"]
    head = f"Measured at commit `{results['commit']}` on {results['machine']}; target: at most {MOST_MS:g} ms.\n\n"
    return head + "| query | median ms | |\n|---|---|---|\n" + "".join(rows)


def guests_table() -> str:
    if not GUEST_RESULTS.exists():
        return "There is no result yet: run `make bench-guests`, then `make docs`.\n"
    results = json.loads(GUEST_RESULTS.read_text(encoding="utf-8"))
    process, containers = results["seconds"]["process"], results["seconds"]["lxc"]
    rows = [f"| {name} | {process.get(name, 0):.2f} | {seconds:.2f} |\n" for name, seconds in containers.items()]
    head = f"Measured on {results['date']} at commit `{results['commit']}` on {results['machine']}; medians, in seconds.\n\n"
    return head + "| phase | process | container |\n|---|---|---|\n" + "".join(rows)


def chaos_table() -> str:
    if not CHAOS_RESULTS.exists():
        return "There is no result yet: run `make chaos`, then `make docs`.\n"
    results = json.loads(CHAOS_RESULTS.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in results["rows"]}
    minutes = results["seconds"] / 60
    head = f"{results['circumstances']}; {len(rows)} rows in {minutes:.0f} minutes.\n\n"
    head += "| scenarios | promises kept | seconds each | what was seen |\n|---|---|---|---|\n"
    return head + "".join(map(_chaos_row, _families(rows)))


def _families(rows: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """The rows of one attack at all phases together, the others alone."""
    families: dict[str, list[Any]] = {}
    for name, row in rows.items():
        family = re.sub(r"-at-[a-z-]+$", "-at-*", name) if re.match("kill|freeze|cancel-at|disk", name) else name
        families.setdefault("end of *" if name.startswith("end of ") else family, []).append(row)
    return list(families.items())


def _chaos_row(family: tuple[str, list[Any]]) -> str:
    name, rows = family
    kept = sum(row["kept"] for row in rows)
    seconds = sorted(round(row["seconds"]) for row in rows)
    span = f"{seconds[0]}" if seconds[0] == seconds[-1] else f"{seconds[0]} to {seconds[-1]}"
    seen = rows[0]["seen"] if len(rows) == 1 else "see the whole table"
    return f"| `{name}` | {kept} of {len(rows)} | {span} | {seen.replace('|', '/')} |\n"


def refusals_table() -> str:
    rows = ["| code | status | cause | remedy |\n|---|---|---|---|\n"]
    for code, meaning in MEANINGS.items():
        rows.append(f"| `{code}` | {PROBLEM_STATUS[code]} | {meaning.cause} | {meaning.remedy or '–'} |\n")
    return "".join(rows)


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "timeouts": timeouts_table,
    "operation-states": lambda: state_diagram(OPERATION_TRANSITIONS, OperationStatus.QUEUED),
    "instance-states": lambda: state_diagram(INSTANCE_TRANSITIONS, InstanceStatus.PROVISIONING),
    "phases": phases_list,
    "kinds": kinds_table,
    "billing": billing_table,
    "refusals": refusals_table,
    "benchmarks": benchmarks_table,
    "chaos": chaos_table,
    "growth": growth_table,
    "streams": streams_table,
    "guests": guests_table,
}


# the README of a role


def role_readme(spec: Path) -> str:
    role = spec.parents[1].name
    main = yaml.safe_load(spec.read_text(encoding="utf-8"))["argument_specs"]["main"]
    rows = [_row(name, option) for name, option in main.get("options", {}).items()]
    parts = [
        f"# {role}\n",
        f"{main['short_description'].rstrip('.')}.\n",
        *(f"{paragraph.strip()}\n" for paragraph in _paragraphs(main.get("description", []))),
        *(["| variable | type | default | meaning |\n|---|---|---|---|\n" + "".join(rows)] if rows else []),
        *_by_hand(role),
        *([OWNER] if f"{role}_server_id" in main.get("options", {}) else []),
        "Generated from `meta/argument_specs.yml` by `make docs`.\n",
    ]
    return "\n".join(parts)


def _by_hand(role: str) -> list[str]:
    playbook = ROOT / "playbooks" / "phases" / f"{role}.yml"
    if not playbook.exists():
        command = "<!-- not run: needs root -->\n```sh\nansible-playbook -i HOSTS playbooks/template.yml\n```\n"
        return ["By hand, with any connection to the container:\n", command]
    # What a phase takes from those before it, it says in the mapping of its variables.
    before = re.findall(r"\b(\w+)_result\b", playbook.read_text(encoding="utf-8"))
    together = [*dict.fromkeys(sorted(before, key=[phase.role for phase in PLAYED].index)), role]
    names = together[0] if len(together) == 1 else f"{{{','.join(together)}}}"
    return [
        "By hand, with the lab running and the instance's VMID:\n",
        f"```sh\nansible-playbook playbooks/phases/{names}.yml -e vmid=5000\n```\n",
    ]


def _paragraphs(description: str | list[str]) -> list[str]:
    return [description] if isinstance(description, str) else description


def _row(name: str, option: dict[str, Any]) -> str:
    kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
    default = "required" if option.get("required") else f"`{_literal(option.get('default'))}`"
    meaning = " ".join(" ".join(_paragraphs(option.get("description", ""))).split())
    if choices := option.get("choices"):
        meaning += " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    return f"| `{name}` | {kind} | {default} | {meaning.replace('|', chr(92) + '|')} |\n"


def _literal(value: object) -> str:
    """As one writes it in YAML."""
    return '""' if value == "" else yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def main(arguments: Collection[str] = ()) -> int:
    made = pages()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{'out of date' if '--check' in arguments else 'written'}: {path.relative_to(ROOT)}")
        if "--check" not in arguments:
            path.write_text(made[path], encoding="utf-8")
    return int("--check" in arguments and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
